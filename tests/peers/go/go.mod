module callboard.test/peers

go 1.26
