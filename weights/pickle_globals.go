package weights

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// storage types of PyTorch.
var storageTypes = map[global]DType{
	"torch.FloatStorage": F32, "torch.HalfStorage": F16, "torch.BFloat16Storage": BF16, "torch.DoubleStorage": F64,
	"torch.LongStorage": I64, "torch.IntStorage": I32, "torch.ShortStorage": I16, "torch.CharStorage": I8,
	"torch.ByteStorage": U8, "torch.BoolStorage": Bool,
}

const (
	orderedDict      global = "collections.OrderedDict"
	rebuildTensor    global = "torch._utils._rebuild_tensor_v2"
	rebuildParameter global = "torch._utils._rebuild_parameter"
)

// inertGlobals may be named in a pickle beside the storage types.
var inertGlobals = []global{
	orderedDict, rebuildTensor, rebuildParameter, "torch.Size",
	"torch.float32", "torch.float", "torch.float16", "torch.half", "torch.bfloat16", "torch.float64", "torch.double",
	"torch.int64", "torch.long", "torch.int32", "torch.int", "torch.int16", "torch.short", "torch.int8", "torch.uint8", "torch.bool",
}

// pickledStorage is what a persistent id names: elements somewhere in the file.
type pickledStorage struct {
	key   string
	dtype DType
	numel int
	begin int // of its bytes in the file, once they are found
}

// storageView is all of a storage, or a legacy file's view of a part.
type storageView struct {
	*pickledStorage
	offset, numel int
}

// pickledTensor is what _rebuild_tensor_v2 makes.
type pickledTensor struct {
	storage       storageView
	offset        int // all in elements
	shape, stride []int
}

// global takes GLOBAL's two lines. A name is all that is ever made of them.
func (p *pickle) global() error {
	module, err := p.line()
	if err != nil {
		return err
	}
	name, err := p.line()
	if err != nil {
		return err
	}
	g := global(module + "." + name)
	_, isStorage := storageTypes[g]
	inScript := p.torchScript && (module == "__torch__" || strings.HasPrefix(module, "__torch__."))
	if !isStorage && !inScript && !slices.Contains(inertGlobals, g) {
		return p.refuseGlobal(g)
	}
	return p.push(g)
}

// refuseGlobal tells a pickled module, which people save by mistake, from the rest.
func (p *pickle) refuseGlobal(g global) error {
	if bytes.Contains(p.raw, []byte("_parameters")) && bytes.Contains(p.raw, []byte("_modules")) {
		return fail(ErrForbidden, "", "refused: holds a whole pickled module, of class %s (byte %d), not a state dict; %s", plain(string(g)), p.op, howToConvert)
	}
	return fail(ErrForbidden, "", "refused: its pickle names %s (byte %d), which is neither imported nor called; only tensors are read", plain(string(g)), p.op)
}

const howToConvert = "convert it where it was made: torch.save(model.state_dict(), FILE), or save_file of safetensors.torch"

// plain is text out of a file on one line of bounded length, in quotes where it needs them.
func plain(s string) string {
	if q := quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}

// reduce is REDUCE: what the rebuild functions would return.
func (p *pickle) reduce() error {
	items, err := p.popN(2)
	if err != nil {
		return err
	}
	args, isTuple := items[1].(tuple)
	if !isTuple {
		return p.malformed("the arguments of REDUCE are %s, a tuple expected", describeObject(items[1]))
	}
	switch items[0] {
	case orderedDict:
		return p.newDict(args)
	case rebuildTensor:
		return p.newTensor(args)
	case rebuildParameter:
		if t, ok := first[*pickledTensor](args); ok && len(args) == 3 {
			return p.push(t)
		}
		return p.malformed("_rebuild_parameter wants a tensor and two flags")
	}
	return fail(ErrForbidden, "", "refused: the pickle calls %s (byte %d); nothing is ever called", describeObject(items[0]), p.op)
}

func first[T any](args tuple) (v T, ok bool) {
	if len(args) > 0 {
		v, ok = args[0].(T)
	}
	return v, ok
}

// newDict is OrderedDict() or OrderedDict([[key, value], …]).
func (p *pickle) newDict(args tuple) error {
	d := &dict{}
	if len(args) > 0 {
		pairs, ok := args[0].(*list)
		if !ok || len(args) > 1 {
			return p.malformed("OrderedDict wants a list of pairs")
		}
		for _, item := range pairs.items {
			pair, ok := item.(tuple)
			if l, isList := item.(*list); isList {
				pair, ok = l.items, true
			}
			if !ok || len(pair) != 2 {
				return p.malformed("OrderedDict wants a list of pairs")
			}
			d.keys, d.values = append(d.keys, pair[0]), append(d.values, pair[1])
		}
		if p.all += 2 * len(d.keys); p.all > maxPickledAll {
			return p.malformed("more than %d objects", maxPickledAll)
		}
	}
	return p.pushContainer(d)
}

// newTensor is _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata).
func (p *pickle) newTensor(args tuple) error {
	if len(args) != 6 && len(args) != 7 {
		return p.malformed("_rebuild_tensor_v2 wants 6 or 7 arguments, %d given", len(args))
	}
	t := &pickledTensor{}
	var ok [4]bool
	var offset int64
	t.storage, ok[0] = args[0].(storageView)
	offset, ok[1] = args[1].(int64)
	t.shape, ok[2] = dims(args[2])
	t.stride, ok[3] = dims(args[3])
	if ok != [4]bool{true, true, true, true} || offset < 0 || int64(int(offset)) != offset || len(t.shape) != len(t.stride) {
		return p.malformed("_rebuild_tensor_v2 wants a storage, an offset, a size and as many strides")
	}
	t.offset = int(offset)
	return p.pushContainer(t)
}

// dims reads a tuple of at most maxRank integers from 0 up.
func dims(v any) ([]int, bool) {
	items, ok := v.(tuple)
	if !ok || len(items) > maxRank {
		return nil, false
	}
	list := make([]int, len(items))
	for i, item := range items {
		n, ok := item.(int64)
		if !ok || n < 0 || int64(int(n)) != n {
			return nil, false
		}
		list[i] = int(n)
	}
	return list, true
}

// newObject is NEWOBJ, which TorchScript makes its records by.
func (p *pickle) newObject() error {
	items, err := p.popN(2)
	if err != nil {
		return err
	}
	class, ok := items[0].(global)
	if !ok || !p.torchScript || !strings.HasPrefix(string(class), "__torch__.") {
		return fail(ErrForbidden, "", "refused: the pickle makes an object of %s (byte %d); nothing is ever called", describeObject(items[0]), p.op)
	}
	return p.pushContainer(&record{class: string(class)})
}

// build is BUILD: the attributes of a record. Those of a dict, which PyTorch
// keeps versions in, are dropped.
func (p *pickle) build() error {
	items, err := p.popN(1)
	if err != nil {
		return err
	}
	state := items[0]
	if len(p.stack) == p.floor() {
		return p.malformed("nothing on the stack to build")
	}
	switch v := p.stack[len(p.stack)-1].(type) {
	case *record:
		v.state = state
		return nil
	case *dict:
		return nil
	default:
		return fail(ErrForbidden, "", "refused: the pickle sets the state of %s (byte %d)", describeObject(v), p.op)
	}
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
	class, _ := id[1].(global)
	key, isText := id[2].(text)
	numel, isInt := id[4].(int64)
	dtype, isType := storageTypes[class]
	if !isType || !isText || !isInt || numel < 0 || int64(int(numel)) != numel {
		return p.malformed("a storage wants a type, a key and a number of elements, has %s, %s and %s",
			describeObject(id[1]), describeObject(id[2]), describeObject(id[4]))
	}
	s, seen := p.storages[string(key)]
	if !seen {
		s = &pickledStorage{key: string(key), dtype: dtype, numel: int(numel), begin: -1}
		p.storages[string(key)] = s
	}
	if s.dtype != dtype || s.numel != int(numel) {
		return p.malformed("storage %s is %d elements of %v here and %d of %v before", quote(string(key)), numel, dtype, s.numel, s.dtype)
	}
	view := storageView{s, 0, s.numel}
	if len(id) == 6 && id[5] != nil {
		part, ok := id[5].(tuple)
		if !ok || len(part) != 3 {
			return p.malformed("a view of a storage wants a key, an offset and a number of elements")
		}
		where, ok := dims(part[1:])
		if !ok || where[0] > s.numel || where[1] > s.numel-where[0] {
			return p.malformed("a view goes past the end of storage %s", quote(string(key)))
		}
		view.offset, view.numel = where[0], where[1]
	}
	return p.pushContainer(view)
}

// describeObject says what an object of a pickle is.
func describeObject(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool, int64, float64:
		return fmt.Sprint(v)
	case long:
		return "a long integer"
	case text:
		return quote(string(v))
	case tuple:
		return fmt.Sprintf("a tuple of %d", len(v))
	case *list:
		return fmt.Sprintf("a list of %d", len(v.items))
	case set:
		return "a set"
	case *dict:
		return fmt.Sprintf("a dict of %d", len(v.keys))
	case *record:
		return "an object of " + plain(v.class)
	case global:
		return plain(string(v))
	case storageView:
		return "a storage"
	case *pickledTensor:
		return "a tensor"
	}
	return "an unknown object"
}
