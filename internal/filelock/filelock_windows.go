package filelock

import "golang.org/x/sys/windows"

const allBytes = ^uint32(0)

func lock(fd uintptr) (bool, error) {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	switch err := windows.LockFileEx(windows.Handle(fd), flags, 0, allBytes, allBytes, new(windows.Overlapped)); err {
	case nil:
		return true, nil
	case windows.ERROR_LOCK_VIOLATION:
		return false, nil
	default:
		return false, err
	}
}

func unlock(fd uintptr) error {
	return windows.UnlockFileEx(windows.Handle(fd), 0, allBytes, allBytes, new(windows.Overlapped))
}
