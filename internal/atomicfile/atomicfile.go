// Package atomicfile writes files and folders that appear whole or not at all: beside
// their place, synced and then renamed. A file that is replaced is whole until then.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
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
		name := TempName(path)
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		switch {
		case err == nil:
			return &File{f, path, replace}, nil
		case !errors.Is(err, fs.ErrExist):
			return nil, at(path, err)
		}
	}
}

// TempName is a name beside path for what is to be renamed to it.
func TempName(path string) string { return fmt.Sprintf("%s.%08x.tmp", path, rand.Uint32()) }

// TempPattern is a pattern, as path.Match has it, of what TempName and PutFolder call what a
// process has not finished of path. While no process writes path, a crash left it.
func TempPattern(path string) string { return path + "." + strings.Repeat("[0-9a-f]", 8) + ".tmp*" }

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
		err = Rename(f.Name(), f.path)
	}
	return at(f.path, err)
}

// Discard removes what was written, unless Commit has moved it to its place.
func (f *File) Discard() {
	f.Close()
	os.Remove(f.Name())
}

// Write writes a small file at once, as Create and Commit do.
func Write(path string, data []byte, replace bool) error {
	f, err := Create(path, replace)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return at(path, err)
	}
	return f.Commit()
}

// Rename is os.Rename that a power cut does not undo. The content of from must be
// synced and its file closed. After an error from is where it was.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	// Not all systems can sync a folder. The file is in its place in any case, so that
	// there is nothing to report.
	if folder, err := os.Open(filepath.Dir(to)); err == nil {
		folder.Sync()
		folder.Close()
	}
	return nil
}

// PutFolder makes temp, a folder beside path whose files are synced, appear as path.
// What is at path, of any kind, lies at temp.old meanwhile: it is removed once temp is
// in its place, and is put back where that fails.
func PutFolder(temp, path string) error {
	old := temp + ".old"
	err := os.Rename(path, old)
	replaced := err == nil
	if !replaced && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err = Rename(temp, path); err != nil && replaced {
		return errors.Join(err, os.Rename(old, path))
	}
	return errors.Join(err, os.RemoveAll(old))
}

// at is err as that of path, without the name of the temporary file.
func at(path string, err error) error {
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &file):
		err = file.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return &fs.PathError{Op: "write", Path: path, Err: err}
}
