package weights

// Parse reads a safetensors file held in memory under the same rules as Open;
// name stands for its path. It does not copy data, which must not change.
func Parse(name string, data []byte) (*File, error) {
	f := &File{path: name}
	if err := recognise(data[:min(len(data), sniffLen)]); err != nil {
		return nil, at(name, err)
	}
	var err error
	if f.tensors, f.metadata, err = parse(data); err != nil {
		return nil, at(name, err)
	}
	for i := range f.tensors {
		f.tensors[i].data = memory(data)
	}
	return f, nil
}
