//go:build !unix && !windows

package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/awsoidc/awsoidc/internal/atomicfile"
)

const openFlags = 0

func isBusy(error) bool { return false }

// checkAccess refuses every file: there is no way to open one without
// following links, nor to lock it.
func checkAccess(file *os.File, _ fs.FileInfo) error {
	return fmt.Errorf("%s: this platform lacks the file locks that a Dir needs: %w", file.Name(), errors.ErrUnsupported)
}

func newOwner(string) (*atomicfile.Owner, error) { return nil, nil }
