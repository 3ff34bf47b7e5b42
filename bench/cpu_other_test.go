//go:build !unix

package main

import "time"

// cpuTime is not known here.
func cpuTime(bool) time.Duration { return 0 }
