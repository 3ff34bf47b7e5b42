//go:build !darwin && !dragonfly && !freebsd && !illumos && !linux && !netbsd && !openbsd && !windows

package filelock

import "errors"

func lock(uintptr) (bool, error) { return false, errors.ErrUnsupported }

func unlock(uintptr) error { return errors.ErrUnsupported }
