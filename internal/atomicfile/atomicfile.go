// Package atomicfile writes files that appear whole or not at all: beside their
// place, synced and then renamed. A file that is replaced is whole until then.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// ErrNotRegular: the path is a folder, a link or a device. A rename would put a
// file in its place.
var ErrNotRegular = errors.New("is not a regular file and cannot be replaced")

// File is a file in the making. Commit or Discard ends it.
type File struct {
	*os.File // under a name of its own; readable, too
	path     string
	replace  bool
}

// Create begins the file at path. With replace a regular file may be there,
// without it nothing. Errors are *fs.PathError with that path; what is there
// already matches fs.ErrExist or ErrNotRegular.
func Create(path string, replace bool) (*File, error) {
	if err := Check(path, replace); err != nil {
		return nil, err
	}
	for {
		// Unlike os.CreateTemp, with the permissions that the process gives to new files.
		name := fmt.Sprintf("%s.%08x.tmp", path, rand.Uint32())
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		switch {
		case err == nil:
			return &File{f, path, replace}, nil
		case !errors.Is(err, fs.ErrExist):
			return nil, at(path, err)
		}
	}
}

// Check tells why Create would refuse what is at path.
func Check(path string, replace bool) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return at(path, err)
	case !info.Mode().IsRegular():
		return at(path, ErrNotRegular)
	case !replace:
		return at(path, fs.ErrExist)
	}
	return nil
}

// Commit makes the file appear. After an error it does not, and what was written
// is gone.
func (f *File) Commit() error {
	defer f.Discard()
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = Check(f.path, f.replace)
	}
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return at(f.path, err)
	}
	// Where folders can be synced this makes the rename last. The file is in its
	// place in any case, so that there is nothing to report.
	if folder, err := os.Open(filepath.Dir(f.path)); err == nil {
		folder.Sync()
		folder.Close()
	}
	return nil
}

// Discard removes what was written, unless Commit has moved it to its place.
func (f *File) Discard() {
	f.Close()
	os.Remove(f.Name())
}

// at is err as that of path, without the name of the temporary file.
func at(path string, err error) error {
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &file):
		err = file.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return &fs.PathError{Op: "write", Path: path, Err: err}
}
