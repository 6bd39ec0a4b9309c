// express-http-proxy as its README has it, over endpoints in turn. Node keeps connections by itself.
// express.cjs PORT URL,URL…
const express = require('express');
const proxy = require('express-http-proxy');

const [port, urls] = process.argv.slice(2);
const endpoints = urls.split(',');
let turn = 0;

const app = express();
app.use(proxy(() => endpoints[turn++ % endpoints.length], { memoizeHost: false }));
app.listen(Number(port), '127.0.0.1');
