//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package filelock

import "syscall"

// flock, not fcntl: fcntl's locks belong to the process, and closing any
// descriptor of the file frees them.
func lock(fd uintptr) (bool, error) {
	switch err := flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err {
	case nil:
		return true, nil
	case syscall.EWOULDBLOCK:
		return false, nil
	default:
		return false, err
	}
}

func unlock(fd uintptr) error { return flock(fd, syscall.LOCK_UN) }

func flock(fd uintptr, how int) error {
	for {
		if err := syscall.Flock(int(fd), how); err != syscall.EINTR {
			return err
		}
	}
}
