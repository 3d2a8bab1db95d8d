// Package torchtest writes small files as PyTorch does, for tests.
package torchtest

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
)

// Pair is an entry of a Dict.
type Pair struct {
	Key   string
	Value any
}

// Dict is a dict in order. Values are nil, bool, int, float64, string, Dict, Tensor and Object.
type Dict []Pair

// Object is a TorchScript module with its attributes; Save makes an archive of
// TorchScript when it is the outermost value.
type Object struct {
	Class string // such as "__torch__.multimodal.Multimodal"
	State Dict
}

// Tensor is a contiguous tensor in a storage of its own.
type Tensor struct {
	Storage string // such as "FloatStorage"
	Shape   []int
	Data    []byte
	Numel   int
}

// F32 makes a tensor of floats.
func F32(shape []int, data []float32) Tensor {
	var raw []byte
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return Tensor{"FloatStorage", shape, raw, len(data)}
}

// I64 makes a scalar.
func I64(v int64) Tensor {
	return Tensor{"LongStorage", nil, binary.LittleEndian.AppendUint64(nil, uint64(v)), 1}
}

// Entry is a file in a zip archive.
type Entry struct {
	Name    string
	Data    []byte
	Deflate bool
}

// Zip writes an archive.
func Zip(entries ...Entry) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		method := zip.Store
		if e.Deflate {
			method = zip.Deflate
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.Name, Method: method})
		if err == nil {
			_, err = f.Write(e.Data)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// Save is torch.save or, for an Object, torch.jit.save.
func Save(value any) []byte {
	p := &pickler{}
	entries := []Entry{{Name: "archive/data.pkl", Data: p.pickle(value)}}
	for i, t := range p.tensors {
		entries = append(entries, Entry{Name: fmt.Sprint("archive/data/", i), Data: t.Data})
	}
	if _, ok := value.(Object); ok {
		entries = append(entries, Entry{Name: "archive/code/__torch__.py", Data: bytes.Repeat([]byte("class Module\n"), 40), Deflate: true},
			Entry{Name: "archive/constants.pkl", Data: []byte("\x80\x02).")})
	}
	return Zip(append(entries, Entry{Name: "archive/version", Data: []byte("3\n")})...)
}

// SaveLegacy is torch.save before PyTorch 1.6.
func SaveLegacy(value any) []byte {
	p := &pickler{legacy: true}
	magic, _ := new(big.Int).SetString("119547037146038801333356", 10)
	bigEndian := magic.Bytes()
	out := []byte{0x80, 2, 0x8a, byte(len(bigEndian))}
	for i := range bigEndian {
		out = append(out, bigEndian[len(bigEndian)-1-i])
	}
	out = append(out, '.')
	out = append(out, new(pickler).pickle(1001)...)
	out = append(out, new(pickler).pickle(Dict{{"little_endian", true}})...)
	out = append(out, p.pickle(value)...)
	out = append(out, 0x80, 2, ']', '(')
	for i := range p.tensors {
		out = appendString(out, fmt.Sprint(i))
	}
	out = append(out, 'e', '.')
	for _, t := range p.tensors {
		out = binary.LittleEndian.AppendUint64(out, uint64(t.Numel))
		out = append(out, t.Data...)
	}
	return out
}

type pickler struct {
	out     []byte
	tensors []Tensor
	legacy  bool
}

func (p *pickler) pickle(value any) []byte {
	p.out = append(p.out, 0x80, 2)
	p.value(value)
	return append(p.out, '.')
}

func (p *pickler) value(v any) {
	switch v := v.(type) {
	case nil:
		p.out = append(p.out, 'N')
	case bool:
		p.out = append(p.out, map[bool]byte{true: 0x88, false: 0x89}[v])
	case int:
		p.out = append(p.out, 'J')
		p.out = binary.LittleEndian.AppendUint32(p.out, uint32(v))
	case float64:
		p.out = append(p.out, 'G')
		p.out = binary.BigEndian.AppendUint64(p.out, math.Float64bits(v))
	case string:
		p.out = appendString(p.out, v)
	case Dict:
		p.dict(v)
	case Object:
		dot := bytes.LastIndexByte([]byte(v.Class), '.')
		p.out = fmt.Appendf(p.out, "c%s\n%s\n)\x81", v.Class[:dot], v.Class[dot+1:])
		p.dict(v.State)
		p.out = append(p.out, 'b')
	case Tensor:
		p.tensor(v)
	default:
		panic(fmt.Sprintf("torchtest: %T", v))
	}
}

func (p *pickler) dict(d Dict) {
	p.out = append(p.out, '}', '(')
	for _, pair := range d {
		p.value(pair.Key)
		p.value(pair.Value)
	}
	p.out = append(p.out, 'u')
}

func (p *pickler) tensor(t Tensor) {
	p.out = append(p.out, "ctorch._utils\n_rebuild_tensor_v2\n(("...)
	p.value("storage")
	p.out = fmt.Appendf(p.out, "ctorch\n%s\n", t.Storage)
	p.value(fmt.Sprint(len(p.tensors)))
	p.value("cpu")
	p.value(t.Numel)
	if p.legacy {
		p.value(nil)
	}
	p.out = append(p.out, 't', 'Q')
	p.value(0)
	strides, n := make([]int, len(t.Shape)), 1
	for i := len(t.Shape) - 1; i >= 0; i-- {
		strides[i] = n
		n *= t.Shape[i]
	}
	for _, list := range [][]int{t.Shape, strides} {
		p.out = append(p.out, '(')
		for _, d := range list {
			p.value(d)
		}
		p.out = append(p.out, 't')
	}
	p.out = append(p.out, "\x89ccollections\nOrderedDict\n)RtR"...)
	p.tensors = append(p.tensors, t)
}

func appendString(out []byte, s string) []byte {
	out = append(out, 'X')
	out = binary.LittleEndian.AppendUint32(out, uint32(len(s)))
	return append(out, s...)
}
