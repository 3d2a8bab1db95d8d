// Command clip-wgpu runs CLIP models on the GPU.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

func main() {
	// A closed stdout is then an error of the write, and unfinished files get
	// removed on the way out.
	signal.Ignore(syscall.SIGPIPE)
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for its process: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if _, err := debug.Get(); err != nil {
		return report(&exitError{exitUsage, err.Error()}, stderr)
	}
	root := newRootCommand()
	root.SetArgs(append([]string{}, keepTerms(root, args)...)) // nil would mean os.Args
	root.SetIn(stdin)
	root.SetOut(stdoutWriter{ctx, stdout})
	root.SetErr(stderr)
	return report(root.ExecuteContext(ctx), stderr)
}
