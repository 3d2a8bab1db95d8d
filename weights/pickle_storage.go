package weights

import "math/bits"

// pickledStorage is what a persistent id names: elements somewhere in the file.
type pickledStorage struct {
	key     string
	element element
	numel   int
	bytes   int
	begin   int // of its bytes in the file, once they are found
}

// storageView is all of a storage, or a legacy file's view of a part.
type storageView struct {
	*pickledStorage
	element       element
	offset, numel int // in elements
}

// pickledTensor is a tensor in a storage, or the reason why it cannot be read.
type pickledTensor struct {
	unread        string
	storage       storageView
	element       element
	offset        int // all in elements
	shape, stride []int
}

// persistentID is BINPERSID of ("storage", type, key, location, numel), with a
// sixth item in legacy files: nil or (view's key, offset, numel).
func (p *pickle) persistentID() error {
	v, err := p.pop()
	if err != nil {
		return err
	}
	id, ok := v.(tuple)
	kind, _ := first[text](id)
	if kind == "module" {
		return fail(ErrForbidden, "", "refused: holds a whole pickled module, not a state dict; %s", howToConvert)
	}
	if !ok || kind != "storage" || len(id) != 5 && len(id) != 6 {
		return p.malformed("a persistent id that is no storage")
	}
	view, err := p.storage(id)
	if err != nil {
		return err
	}
	if len(id) == 6 && id[5] != nil {
		part, ok := id[5].(tuple)
		if !ok || len(part) != 3 {
			return p.malformed("a view of a storage wants a key, an offset and a number of elements")
		}
		where, ok := dims(part[1:])
		if !ok || where[0] > view.numel || where[1] > view.numel-where[0] {
			return p.malformed("a view goes past the end of storage %s", quote(view.key))
		}
		view.offset, view.numel = where[0], where[1]
	}
	return p.pushContainer(view)
}

// storage returns the storage that a persistent id names. Several ids may name one
// storage with elements of different types, if it has as many bytes by each.
func (p *pickle) storage(id tuple) (view storageView, err error) {
	class, _ := id[1].(global)
	key, isText := id[2].(text)
	numel, isInt := id[4].(int64)
	e, isType := elements[storageTypes[withoutCUDA(class)]]
	if !isType || !isText || !isInt || numel < 0 || int64(int(numel)) != numel {
		return view, p.malformed("a storage wants a type, a key and a number of elements, has %s, %s and %s",
			describeObject(id[1]), describeObject(id[2]), describeObject(id[4]))
	}
	hi, bytes := bits.Mul(uint(numel), uint(e.size))
	if hi != 0 || int(bytes) < 0 {
		return view, p.malformed("storage %s of %d elements of %v is larger than any file", quote(string(key)), numel, e)
	}
	s, seen := p.storages[string(key)]
	if !seen {
		s = &pickledStorage{key: string(key), element: e, numel: int(numel), bytes: int(bytes), begin: -1}
		p.storages[s.key] = s
	}
	if s.bytes != int(bytes) {
		return view, p.malformed("storage %s is %d elements of %v here and %d of %v before", quote(s.key), numel, e, s.numel, s.element)
	}
	return storageView{s, e, 0, int(numel)}, nil
}

// tensor returns t as a tensor at its place in the file, which has fileSize bytes.
func (t *pickledTensor) tensor(name string, fileSize int) (Stored, error) {
	out := Stored{Name: name, DType: t.element.dtype, Shape: t.shape}
	if t.unread != "" {
		return out, fail(ErrUnsupportedFormat, name, "%s", t.unread)
	}
	if out.DType == 0 {
		return out, fail(ErrDType, name, "elements of %s cannot be read", t.element.name)
	}
	size, ok := byteSize(t.shape, out.DType)
	if !ok || size > fileSize {
		return out, fail(ErrMalformed, name, "shape %v of %v exceeds the file's %d bytes", t.shape, out.DType, fileSize)
	}
	span, ok := 1, true // from the first element to the last
	for i, d := range t.shape {
		hi, n := bits.Mul(uint(max(0, d-1)), uint(t.stride[i]))
		if ok = ok && hi == 0 && n < uint(fileSize); !ok {
			break
		}
		span += int(n)
	}
	if size == 0 {
		span = 0
	}
	item := out.DType.Bytes()
	has := t.storage.numel * t.storage.element.size / item
	if !ok || t.offset > has || span > has-t.offset {
		return out, fail(ErrMalformed, name, "shape %v with strides %v at %d goes past the end of its storage of %d elements", t.shape, t.stride, t.offset, has)
	}
	out.begin = t.storage.begin + t.storage.offset*t.storage.element.size + t.offset*item
	out.end = out.begin + span*item
	if size > 0 && !isContiguous(t.shape, t.stride) {
		out.strided = &strided{t.shape, t.stride}
	}
	return out, nil
}
