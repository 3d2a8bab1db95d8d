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

// stdoutWriter is what all commands write to. Its Write also returns when ctx ends,
// since the reader of a pipe may have stopped reading.
type stdoutWriter struct {
	ctx context.Context
	w   io.Writer
}

func (s stdoutWriter) Write(p []byte) (int, error) {
	return interruptible(s.ctx, func() (int, error) { return s.w.Write(p) })
}

// sink is where rows of text go: a pendingFile or stdout.
type sink interface {
	io.Writer
	commit() error
	discard()
}

// stdoutSink writes at once. Nothing takes back what is written.
type stdoutSink struct{ io.Writer }

func (stdoutSink) commit() error { return nil }
func (stdoutSink) discard()      {}

// spooledRows are rows for stdout in a format whose beginning tells how many
// there are. They wait in a file.
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
	w := r.stdout
	if out, ok := w.(stdoutWriter); ok && out.ctx.Err() != nil {
		w = out.w // finished rows still go out after an interrupt; a second one kills
	}
	_, err = io.Copy(w, f)
	return cmp.Or(err, f.Close())
}

func (r *spooledRows) discard() {
	r.rowWriter.discard()
	os.RemoveAll(r.folder)
}
