// Package rediscache x
//
//	+eval +getrange +getrange
//	+time +get +hget +hmget +hset +hdel +pexpire +set +del
package rediscache
