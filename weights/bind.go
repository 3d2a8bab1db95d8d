package weights

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// ErrMismatch is matched by a Report that is not clean.
var ErrMismatch = errors.New("weights do not fit the model")

// Report says how a checkpoint differs from a model, by tensor name.
type Report struct {
	Missing    []string // the model has it, the checkpoint does not
	Unexpected []string // the checkpoint has it, the model does not
	Misshaped  []string // "name: shape [3], the model's is [4]"
}

// Err is nil when the checkpoint has every tensor of the model in its shape,
// and no other. Otherwise it names the first of each kind and counts the rest.
func (r Report) Err() error {
	var parts []string
	for _, kind := range []struct {
		names []string
		text  string
	}{{r.Missing, "is missing"}, {r.Misshaped, ""}, {r.Unexpected, "is not part of the model"}} {
		if len(kind.names) == 0 {
			continue
		}
		s := strings.TrimSpace("tensor " + oneLine(clip(kind.names[0])) + " " + kind.text)
		if n := len(kind.names) - 1; n > 0 {
			s += fmt.Sprintf(" (and %d more)", n)
		}
		parts = append(parts, s)
	}
	if parts == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrMismatch, strings.Join(parts, "; "))
}

// Walk calls fn with every parameter below root, a struct whose fields are
// tagged `w:"name"`, under its dotted state-dict name. Fields are parameters,
// structs of them, or slices of structs, which are numbered; nil ones are
// skipped, and the tag `w:""` adds nothing to the name.
func Walk(root any, fn func(name string, p *graph.Param)) { Find(root, fn) }

// Find does the same for modules of another kind, of pointer type T.
func Find[T any](root any, fn func(name string, module T)) {
	find(reflect.ValueOf(root), "", fn)
}

func find[T any](v reflect.Value, name string, fn func(string, T)) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return
		}
		if v.Type() == reflect.TypeFor[T]() {
			fn(name, v.Interface().(T))
			return
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			find(v.Index(i), join(name, fmt.Sprint(i)), fn)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if tag, ok := v.Type().Field(i).Tag.Lookup("w"); ok {
				find(v.Field(i), join(name, tag), fn)
			}
		}
	}
}

func join(prefix, name string) string {
	if prefix == "" || name == "" {
		return prefix + name
	}
	return prefix + "." + name
}

// integers reads whole numbers as floats, too.
type integers struct{ Stored }

func (t integers) ReadF32(dst []float32, off int) error {
	whole := make([]int64, len(dst))
	if err := t.ReadI64(whole, off); err != nil {
		return err
	}
	for i, v := range whole {
		dst[i] = float32(v)
	}
	return nil
}

// IntegerRecord makes a Record of a buffer of whole numbers, exact where they come
// from a file.
func IntegerRecord(p *graph.Param) Record {
	r := Record{Name: p.Name, DType: I64, Shape: p.Shape, ReadI64: func(dst []int64, off int) error {
		values := make([]float32, len(dst))
		err := p.Source.ReadF32(values, off)
		for i, v := range values {
			dst[i] = int64(v)
		}
		return err
	}}
	if t, ok := p.Source.(integers); ok {
		r.ReadI64 = t.ReadI64
	}
	return r
}

// Bind makes src's tensors the sources of the parameters below root and
// reports what does not match; a buffer of whole numbers may be missing. Tensors
// of integers or of truth values that the model does not have are ignored:
// checkpoints carry position ids and the like as buffers.
func Bind(root any, src StateDict) Report {
	var r Report
	bound := map[string]bool{}
	Walk(root, func(name string, p *graph.Param) {
		bound[name] = true
		t, ok := src.Tensor(name)
		switch {
		case !ok && p.Integer:
		case !ok:
			r.Missing = append(r.Missing, name)
		case !slices.Equal(t.Shape, []int(p.Shape)):
			r.Misshaped = append(r.Misshaped, fmt.Sprintf("%s: shape %v, the model's is %v", name, t.Shape, []int(p.Shape)))
		case p.Integer && !t.DType.IsFloat():
			p.Source = integers{t}
		case !t.DType.IsFloat():
			r.Misshaped = append(r.Misshaped, fmt.Sprintf("%s: %v, the model's is floating point", name, t.DType))
		default:
			p.Source = t
		}
	})
	for _, name := range src.Names() {
		if t, _ := src.Tensor(name); !bound[name] && !t.DType.isBuffer() {
			r.Unexpected = append(r.Unexpected, name)
		}
	}
	return r
}
