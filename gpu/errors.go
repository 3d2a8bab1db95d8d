package gpu

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	// ErrClosed is returned by everything that is used after its Close.
	ErrClosed = errors.New("gpu: used after Close")
	// ErrNoDriver is returned where no adapter was found at all.
	ErrNoDriver = errors.New("no GPU driver found")
	// ErrLost is returned, from then on, by a device that stopped answering.
	ErrLost = errors.New("the device stopped answering")
)

// LimitError says that something does not fit the device.
type LimitError struct {
	What         string // what was asked for, with its unit
	Value, Limit int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: %d, the device allows 1 to %d", e.What, e.Value, e.Limit)
}

// MemoryError says that Options.MaxMemory, in bytes, would be exceeded.
type MemoryError struct{ Needed, Used, Allowed int64 }

func (e *MemoryError) Error() string {
	const mib = 1 << 20
	return fmt.Sprintf("%.1f MiB of device memory needed, %.1f MiB in use, %.1f MiB allowed",
		float64(e.Needed)/mib, float64(e.Used)/mib, float64(e.Allowed)/mib)
}

// ShaderError is a kernel that the device's compiler refuses.
type ShaderError struct {
	Kernel  string
	Line    int // in the kernel's source, 0 where the compiler names none
	Message string
}

func (e *ShaderError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("kernel %s: %s", e.Kernel, e.Message)
	}
	return fmt.Sprintf("kernel %s, line %d: %s", e.Kernel, e.Line, e.Message)
}

var shaderLine = regexp.MustCompile(`┌─ .*:(\d+):\d+`)

func newShaderError(kernel string, err error) *ShaderError {
	e := &ShaderError{Kernel: kernel, Message: reason(err.Error())}
	if m := shaderLine.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1]) // digits by the pattern
	}
	return e
}

// plain makes one line of an error of the binding.
func plain(err error) error {
	if err == nil || !strings.HasPrefix(err.Error(), "wgpu.(") {
		return err
	}
	return errors.New(reason(err.Error()))
}

// reason makes one line of a message of the library. Such a message has many lines:
// headings, and indented below them the causes. reason returns the causes, but for
// the name of the C function and labels.
func reason(message string) string {
	var causes []string
	for line := range strings.Lines(message) {
		cause := strings.TrimSpace(line)
		if strings.HasPrefix(line, "    ") && cause != "" && !strings.HasPrefix(cause, "In wgpu") && !strings.HasPrefix(cause, "note:") {
			causes = append(causes, cause)
		}
	}
	if len(causes) == 0 {
		return strings.Join(strings.Fields(message), " ")
	}
	return strings.Join(causes, ": ")
}
