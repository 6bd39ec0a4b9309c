// Package peers holds the programs in Go that the tests let callboard stand between.
package peers
