package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"
)

// Exit codes, as the help of the root command lists them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitSkipped     = 3
	exitInterrupted = 130 // as shells report SIGINT
	exitClosedPipe  = 141 // as shells report SIGPIPE
)

// exitError is an error that asks for an exit code of its own.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

// ExitCode is the process's exit code.
func (e *exitError) ExitCode() int { return e.code }

// usageErrorf reports a command line that makes no sense.
func usageErrorf(cmd *cobra.Command, format string, args ...any) error {
	return &exitError{exitUsage, fmt.Sprintf(format, args...) + fmt.Sprintf(" (see %s --help)", cmd.CommandPath())}
}

// report writes err as one line and returns the exit code.
func report(err error, stderr io.Writer) int {
	var coded interface{ ExitCode() int }
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, syscall.EPIPE):
		return exitClosedPipe // who reads the output has seen enough
	case errors.As(err, &coded):
		printError(stderr, err.Error())
		return coded.ExitCode()
	case errors.Is(err, context.Canceled):
		printError(stderr, "interrupted")
		return exitInterrupted
	}
	printError(stderr, err.Error())
	return exitFailure
}

// maxMessage leaves room for the longest paths, not for all that a file can
// have in place of a name.
const maxMessage = 10 << 10

func printError(w io.Writer, text string) {
	if len(text) > maxMessage {
		text = text[:maxMessage] + "…"
	}
	if text != "" {
		fmt.Fprintf(w, "clip-wgpu: %s\n", oneLine(text))
	}
}

// oneLine puts semicolons between the lines of joined errors, and U+FFFD in the place of
// control characters, which names of files may have.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
