// Express Gateway; EG_CONFIG_DIR has its configuration.
require('express-gateway')().load(process.env.EG_CONFIG_DIR).run();
