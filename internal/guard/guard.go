// Package guard keeps one bad input from ending a program: what a decoder or
// parser panics with becomes the error of the input that it was given.
package guard

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// PanicError is a panic that Catch met. It always means a defect of this
// program or of a library, so that tests and fuzz targets fail on it.
type PanicError struct {
	Value    any    // what panic was called with
	Location string // file and line that panicked, without the folder
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("internal error, please report it: %v (%s)", e.Value, e.Location)
}

// Unwrap returns the panic's value where that is an error, such as a runtime.Error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Catch sets *err to a *PanicError when the function that deferred it panics:
//
//	func Decode(data []byte) (img *Image, err error) {
//		defer guard.Catch(&err)
//
// It sees panics of its own goroutine only. No Go program survives exhausted
// memory or a stack overflow, so decoders bound both themselves.
func Catch(err *error) {
	if value := recover(); value != nil {
		*err = &PanicError{value, panicLocation()}
	}
}

// panicLocation finds the innermost frame below the runtime's own, which raise a
// panic such as an index out of range.
func panicLocation() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)]) // past Callers, panicLocation and Catch
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		if !more {
			return "unknown place"
		}
	}
}
