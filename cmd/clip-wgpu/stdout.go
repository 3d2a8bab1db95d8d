package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// stdoutPath is the output that means stdout.
const stdoutPath = "-"

// sink is where rows of text go: a pendingFile or stdout.
type sink interface {
	io.Writer
	commit() error
	discard()
}

// stdoutSink writes at once. What is written cannot be taken back.
type stdoutSink struct {
	ctx context.Context
	w   io.Writer
}

// Write also returns when ctx is done, since a pipe may have a reader that waits.
func (s stdoutSink) Write(p []byte) (int, error) {
	return interruptible(s.ctx, func() (int, error) { return s.w.Write(p) })
}

func (stdoutSink) commit() error { return nil }
func (stdoutSink) discard()      {}

// spooledRows are rows for stdout in a format that begins with what is known at
// the end. They wait in a file.
type spooledRows struct {
	rowWriter
	stdout       io.Writer
	folder, path string
}

func newSpooledRows(o rowOptions) (rowWriter, error) {
	folder, err := os.MkdirTemp("", "clip-wgpu-")
	if err != nil {
		return nil, fmt.Errorf("rows for stdout: %w", err)
	}
	path := filepath.Join(folder, "rows")
	rows, err := rowFormats[o.format].open(path, o)
	if err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	return &spooledRows{rows, o.stdout, folder, path}, nil
}

func (r *spooledRows) commit() error {
	if err := r.rowWriter.commit(); err != nil {
		return err
	}
	f, err := os.Open(r.path)
	if err != nil {
		return err
	}
	_, err = io.Copy(r.stdout, f)
	return cmp.Or(err, f.Close())
}

func (r *spooledRows) discard() {
	r.rowWriter.discard()
	os.RemoveAll(r.folder)
}
