package weights

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	npySuffix = ".npy"
	npyMagic  = "\x93NUMPY"
)

// npyTypes are the element types of numpy arrays that DType has.
var npyTypes = map[string]DType{
	"<f4": F32, "<f2": F16, "<f8": F64, "<i8": I64, "<i4": I32, "<i2": I16, "|i1": I8, "|u1": U8, "<u2": U16, "<u4": U32, "<u8": U64, "|b1": Bool,
	"|V2": BF16, // how ml_dtypes, and with it JAX, saves bfloat16
}

// npyHeader matches the Python dict in which an array is described
// (numpy.lib.format). numpy writes nothing else.
var npyHeader = regexp.MustCompile(`^\{'descr': '([^']+)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \}\s*$`)

// arrays are those of numpy.savez, by their names without .npy.
func (a *archive) arrays() ([]Stored, error) {
	var tensors []Stored
	for _, entry := range a.names {
		name, ok := strings.CutSuffix(entry, npySuffix)
		if !ok {
			continue
		}
		begin, end, err := a.entryRange(entry)
		if err != nil {
			return nil, err
		}
		t, err := parseNPY(a.raw[begin:end])
		if err != nil {
			return nil, inTensor(name, err)
		}
		t.Name, t.begin, t.end = name, t.begin+begin, t.end+begin
		if tensors = append(tensors, t); len(tensors) > maxNames {
			return nil, fail(ErrMalformed, "", "more than %d arrays", maxNames)
		}
	}
	slices.SortFunc(tensors, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	return tensors, nil
}

// parseNPY reads an array's header and checks that the elements fill the rest.
func parseNPY(raw []byte) (Stored, error) {
	var t Stored
	header, data, err := splitNPY(raw)
	if err != nil {
		return t, err
	}
	m := npyHeader.FindSubmatch(header)
	if m == nil {
		return t, fail(ErrMalformed, "", "not the header of a numpy array: %s", quote(string(header)))
	}
	var ok bool
	if t.DType, ok = npyTypes[string(m[1])]; !ok {
		return t, fail(ErrDType, "", "elements of numpy's type %s cannot be read", quote(string(m[1])))
	}
	t.Shape = []int{}
	for field := range strings.SplitSeq(string(m[3]), ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		n, err := strconv.ParseUint(field, 10, strconv.IntSize-1)
		if err != nil || len(t.Shape) == maxRank {
			return t, fail(ErrMalformed, "", "shape (%s) is no list of at most %d sizes", clip(string(m[3])), maxRank)
		}
		t.Shape = append(t.Shape, int(n))
	}
	if size, ok := byteSize(t.Shape, t.DType); !ok || size != len(data) {
		return t, fail(ErrMalformed, "", "shape %v of %v does not fill the array's %d bytes", t.Shape, t.DType, len(data))
	}
	t.begin, t.end = len(raw)-len(data), len(raw)
	if string(m[2]) == "True" {
		reversed := slices.Clone(t.Shape)
		slices.Reverse(reversed)
		strides := contiguous(reversed)
		slices.Reverse(strides)
		t.strided = &strided{t.Shape, strides}
	}
	return t, nil
}

// splitNPY separates the header's text from the elements.
func splitNPY(raw []byte) (header, data []byte, err error) {
	const prefix = len(npyMagic) + 2 // and the version
	if len(raw) < prefix+4 || string(raw[:len(npyMagic)]) != npyMagic {
		return nil, nil, fail(ErrMalformed, "", "not a numpy array")
	}
	length, start := int(le.Uint16(raw[prefix:])), prefix+2
	if raw[len(npyMagic)] > 1 { // version 2 and 3
		length, start = int(min(le.Uint32(raw[prefix:]), maxToken)), prefix+4
	}
	if length > len(raw)-start {
		return nil, nil, fail(ErrMalformed, "", "a header of %d bytes does not fit the array's %d", length, len(raw))
	}
	return raw[start : start+length], raw[start+length:], nil
}
