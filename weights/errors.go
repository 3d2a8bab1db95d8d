package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Kinds of failure a caller may branch on with errors.Is. A missing file or
// one without read permission matches fs.ErrNotExist or fs.ErrPermission.
var (
	// ErrMalformed: the content breaks a rule of its format.
	ErrMalformed = errors.New("malformed weights")
	// ErrTruncated: the file ends before its header says, as a stopped download does.
	ErrTruncated = errors.New("file cut short")
	// ErrUnsupportedFormat: a weights container that this package does not read.
	ErrUnsupportedFormat = errors.New("unsupported weights format")
	// ErrNotWeights: something else than weights, such as a git-LFS pointer, a web page or a pipe.
	ErrNotWeights = errors.New("not weights")
	// ErrForbidden: a pickle that wants more than tensors and plain values, which nothing here gives it.
	ErrForbidden = errors.New("forbidden in a pickle")
	// ErrDType: the tensor's element type cannot be read or written as asked.
	ErrDType = errors.New("wrong element type")
	// ErrClosed: the file was closed.
	ErrClosed = errors.New("weights file is closed")
)

// FileError is a failure that belongs to one file, and to one tensor of it
// when Tensor is set. Err holds the kind, one of the variables above or an
// operating system error.
type FileError struct {
	Path   string // empty for tensors in memory
	Tensor string
	Reason string // what is wrong, with expected and actual values
	Err    error
}

// Error gives one line: the file, the tensor and the reason.
func (e *FileError) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(oneLine(e.Path) + ": ")
	}
	if e.Tensor != "" {
		b.WriteString("tensor " + quote(e.Tensor) + ": ")
	}
	b.WriteString(e.Reason)
	return b.String()
}

// Unwrap returns the kind.
func (e *FileError) Unwrap() error { return e.Err }

// fail makes an error whose path is not known yet; tensor may be empty.
func fail(kind error, tensor, format string, args ...any) *FileError {
	return &FileError{Tensor: tensor, Reason: fmt.Sprintf(format, args...), Err: kind}
}

// at fills in the path of errors made by fail; others pass through.
func at(path string, err error) error {
	var e *FileError
	if errors.As(err, &e) && e.Path == "" {
		e.Path = path
	}
	return err
}

// maxQuoted is the length to which errors cut strings that come out of a file.
const maxQuoted = 120

// osError names the path once, on one line, and keeps what errors.Is looks for.
func osError(path string, err error) error {
	reason := err
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		reason = pathErr.Err
	}
	return &FileError{Path: path, Reason: reason.Error(), Err: err}
}

// quote renders a string that comes out of a file on one line of bounded length.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "…"
	}
	return strconv.Quote(s)
}

// clip bounds text that is printable already.
func clip(s string) string {
	if len(s) > maxQuoted {
		return s[:maxQuoted] + "…"
	}
	return s
}

// oneLine leaves ordinary paths as they are and quotes those with control characters.
func oneLine(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(path)
	}
	return path
}
