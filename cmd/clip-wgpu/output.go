package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// pendingFile is written beside its place and put there when it is whole.
type pendingFile struct {
	*bufio.Writer
	path  string
	force bool
	temp  *os.File
}

// createPending makes sure that path can be written, and only with force where
// there is a file.
func createPending(path string, force bool) (*pendingFile, error) {
	if err := mayCreate(path, force); err != nil {
		return nil, err
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("output %s: there is no folder %s", path, folder)
	}
	// Unlike os.CreateTemp, with the permissions that new files get here.
	name := fmt.Sprintf("%s.%08x.tmp", path, rand.Uint32())
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("output %s: cannot write in folder %s: %w", path, folder, cause(err))
	}
	return &pendingFile{bufio.NewWriterSize(f, 1<<16), path, force, f}, nil
}

// cause drops the name of a temporary file from an error.
func cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// mayCreate tells why path cannot become a new file.
func mayCreate(path string, force bool) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("output %s: is not a regular file and cannot be replaced", path)
	case !force:
		return fmt.Errorf("output %s: %w (--force replaces it)", path, fs.ErrExist)
	}
	return nil
}

// commit makes the file appear.
func (p *pendingFile) commit() error {
	defer p.discard()
	err := p.Flush()
	if err == nil {
		err = p.temp.Sync()
	}
	if err == nil {
		err = p.temp.Close()
	}
	if err != nil {
		return fmt.Errorf("output %s: %w", p.path, cause(err))
	}
	if err := mayCreate(p.path, p.force); err != nil {
		return err
	}
	if err := os.Rename(p.temp.Name(), p.path); err != nil {
		return fmt.Errorf("output %s: %w", p.path, cause(err))
	}
	return nil
}

// discard removes what was written, unless commit has moved it to its place.
func (p *pendingFile) discard() {
	p.temp.Close()
	os.Remove(p.temp.Name())
}
