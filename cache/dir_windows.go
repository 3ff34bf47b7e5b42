package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"

	"github.com/awsoidc/awsoidc/internal/atomicfile"
)

// openFlags makes an open yield a symbolic link or junction itself, which is
// then refused as no regular file.
const openFlags = windows.FILE_FLAG_OPEN_REPARSE_POINT

// isBusy reports whether a file can't be opened because another process has
// it open.
func isBusy(err error) bool { return errors.Is(err, windows.ERROR_SHARING_VIOLATION) }

// checkAccess refuses a file with more than one name. Who may write it is up to
// the folder's access control list, which new files inherit: in a user's
// profile it names the user, the system and administrators.
func checkAccess(file *os.File, _ fs.FileInfo) error {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(file.Fd()), &info); err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	if info.NumberOfLinks > 1 {
		return unsafeFile(file.Name(), fmt.Sprintf("is one of %d names of a file (hard links); remove it", info.NumberOfLinks))
	}
	return nil
}

func newOwner(string) (*atomicfile.Owner, error) { return nil, nil }
