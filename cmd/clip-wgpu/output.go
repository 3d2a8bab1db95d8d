package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
)

// pendingFile is an output that appears when it is whole.
type pendingFile struct {
	*bufio.Writer
	file *atomicfile.File
	path string
}

// createPending makes sure that path can be written, and only with force where
// there is a file.
func createPending(path string, force bool) (*pendingFile, error) {
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("output %s: there is no folder %s", path, folder)
	}
	f, err := atomicfile.Create(path, force)
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, atomicfile.ErrNotRegular):
		return nil, outputError(path, err)
	case err != nil:
		return nil, fmt.Errorf("output %s: cannot write in folder %s: %w", path, folder, cause(err))
	}
	return &pendingFile{bufio.NewWriterSize(f, 1<<16), f, path}, nil
}

// outputError is the error of an output.
func outputError(path string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("output %s: %w (--force replaces it)", path, fs.ErrExist)
	}
	return fmt.Errorf("output %s: %w", path, cause(err))
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

// commit makes the file appear.
func (p *pendingFile) commit() error {
	err := p.Flush()
	if err == nil {
		err = p.file.Commit()
	}
	if err != nil {
		p.discard()
		return outputError(p.path, err)
	}
	return nil
}

// discard removes what was written, unless commit has moved it to its place.
func (p *pendingFile) discard() { p.file.Discard() }
