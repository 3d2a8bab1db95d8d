package weights

// Parse reads a file of weights held in memory under the same rules as Open;
// name stands for its path. It does not copy data, which must not change.
func Parse(name string, data []byte) (*File, error) {
	f := &File{path: name}
	var err error
	if f.tensors, f.metadata, err = parse(data); err != nil {
		return nil, at(name, err)
	}
	for i := range f.tensors {
		f.tensors[i].data = memory(data)
	}
	return f, nil
}

// parse checks what describes the tensors of a file and returns them in
// ascending order of name, as byte ranges of raw without storage, and the
// file's metadata. Errors have no path yet.
func parse(raw []byte) ([]Tensor, map[string]string, error) {
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
