package weights

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// File is an open checkpoint: one file, or several that an index ties together.
// It implements StateDict. All methods may be called concurrently. Close of a nil File
// does nothing.
type File struct {
	path     string
	tensors  []Stored // ascending by name
	metadata map[string]string
	mappings []*mapping
}

// Open opens a checkpoint and checks the whole of its header, reading no
// tensor data. The path is
//
//   - a safetensors file (https://github.com/huggingface/safetensors);
//   - what torch.save wrote of a state dict, or of a training checkpoint with
//     one under state_dict, in its zip or its legacy format;
//   - a TorchScript archive, whose tensors are read and whose code is not;
//   - the archive of numpy.savez;
//   - the JSON index of a sharded one, whose shards lie beside it;
//   - a folder, of whose files Choose picks one.
//
// What a file is shows in its content, never in its name. PyTorch's pickles are
// read by a machine that knows tensors and plain values and can import or call
// nothing; one that asks for more gives ErrForbidden. A file must not be
// changed in place while open; Save over it is safe, except on Windows.
//
// Every error is a *FileError. errors.Is tells which: ErrMalformed, ErrTruncated,
// ErrForbidden, ErrUnsupportedFormat, ErrNotWeights, or an error of the system such
// as fs.ErrNotExist.
func Open(path string) (f *File, err error) {
	err = guarded(path, func() error {
		f, err = openFile(path)
		return err
	})
	return f, err
}

func openFile(path string) (*File, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	r, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if !isSafetensors(r.head) && isJSON(r.head) {
		return openIndex(r)
	}
	return openSingle(r)
}

// Path is the file that was opened: for a folder, the one found in it.
func (f *File) Path() string { return f.path }

// Metadata is a copy of the header's __metadata__; an index has none.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Tensors lists the tensors in ascending order of name.
func (f *File) Tensors() []Stored { return slices.Clone(f.tensors) }

// Names lists the tensors' names in ascending order.
func (f *File) Names() []string {
	names := make([]string, len(f.tensors))
	for i, t := range f.tensors {
		names[i] = t.Name
	}
	return names
}

// Tensor returns the named tensor; false when there is none.
func (f *File) Tensor(name string) (Stored, bool) {
	i, ok := slices.BinarySearchFunc(f.tensors, name, func(t Stored, name string) int {
		return strings.Compare(t.Name, name)
	})
	if !ok {
		return Stored{}, false
	}
	return f.tensors[i], true
}

// Close releases the file. Reads that are running finish first, later ones
// return ErrClosed. Closing again does nothing.
func (f *File) Close() error {
	if f == nil {
		return nil
	}
	var errs []error
	for _, m := range f.mappings {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// regular is an open regular file with its first bytes.
type regular struct {
	*os.File
	size int
	head []byte
}

// openRegular opens a file after it has made sure that opening cannot hang,
// as it would on a pipe without a writer.
func openRegular(path string) (*regular, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, osError(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, at(path, fail(ErrNotWeights, "", "is %s, not a file of weights", describe(info.Mode())))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, osError(path, err)
	}
	r := &regular{File: file, size: int(info.Size()), head: make([]byte, sniffLen)}
	n, err := file.ReadAt(r.head, 0)
	r.head = r.head[:n]
	switch {
	case int64(r.size) != info.Size():
		err = at(path, fail(ErrUnsupportedFormat, "", "%d bytes are too many for a 32-bit program", info.Size()))
	case r.size == 0:
		err = at(path, fail(ErrTruncated, "", "is empty (0 bytes)"))
	case err == io.EOF:
		err = nil
	case err != nil:
		err = osError(path, err)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return r, nil
}

// openSingle opens a file that is no index.
func openSingle(r *regular) (*File, error) {
	path := r.Name()
	m, err := openMapping(r.File, r.size)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, mappings: []*mapping{m}}
	err = m.view(0, r.size, func(raw []byte) error {
		return guarded(path, func() (err error) { // before view recovers, which would hide the place of a panic
			f.tensors, f.metadata, err = parse(raw)
			return err
		})
	})
	var caught *guard.PanicError
	if errors.As(err, &caught) && m.holds(caught.Value) {
		err = m.fault()
	}
	if err != nil {
		f.Close()
		return nil, at(path, err)
	}
	for i := range f.tensors {
		f.tensors[i].data = m
	}
	return f, nil
}

// describe names what a path that is no regular file is.
func describe(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return fmt.Sprintf("of type %v", mode.Type())
}
