package weights

import "github.com/clip-wgpu/clip-wgpu/internal/guard"

// Parse reads a file of weights held in memory under the same rules as Open;
// name stands for its path. It does not copy data, which must not change.
func Parse(name string, data []byte) (*File, error) {
	f := &File{path: name}
	err := guarded(name, func() (err error) {
		f.tensors, f.metadata, err = parse(data)
		return at(name, err)
	})
	if err != nil {
		return nil, err
	}
	for i := range f.tensors {
		f.tensors[i].data = memory(data)
	}
	return f, nil
}

// guarded runs a parser. If the parser panics, that is the error of the file at path.
func guarded(path string, parse func() error) error {
	err := func() (err error) {
		defer guard.Catch(&err)
		return parse()
	}()
	if caught, ok := err.(*guard.PanicError); ok {
		return &FileError{Path: path, Reason: caught.Error(), Err: caught}
	}
	return err
}

// parse checks what describes the tensors of a file and returns them in
// ascending order of name, as byte ranges of raw without storage, and the
// file's metadata. Errors have no path yet.
func parse(raw []byte) ([]Stored, map[string]string, error) {
	head := raw[:min(len(raw), sniffLen)]
	switch {
	case isSafetensors(head):
		return parseSafetensors(raw)
	case isZip(head):
		return parseZip(raw)
	case isPickle(head):
		return parseLegacy(raw)
	}
	if err := recognise(head); err != nil {
		return nil, nil, err
	}
	return parseSafetensors(raw)
}
