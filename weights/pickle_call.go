package weights

import (
	"fmt"
	"slices"
	"strings"
)

// Globals whose results are made of their arguments.
const (
	orderedDict               global = "collections.OrderedDict"
	counter                   global = "collections.Counter"
	size                      global = "torch.Size"
	parameter                 global = "torch.nn.parameter.Parameter"
	rebuildParameter          global = "torch._utils._rebuild_parameter"
	rebuildParameterWithState global = "torch._utils._rebuild_parameter_with_state"
	rebuildFromType           global = "torch._tensor._rebuild_from_type_v2"
	rebuildFromCPU            global = "torch._utils._rebuild_device_tensor_from_cpu_tensor"
)

var madeOfArguments = []global{
	orderedDict, counter, size, parameter, rebuildParameter, rebuildParameterWithState, rebuildFromType, rebuildFromCPU,
}

// rebuilds make a tensor. Their first arguments are a storage, an offset, a size
// and strides. dtype is the argument that has one, or -1; an optional dict of
// metadata may follow the required arguments.
var rebuilds = map[global]struct {
	required, dtype int
	metadata        bool
}{
	"torch._utils._rebuild_tensor":    {4, -1, false},
	"torch._utils._rebuild_tensor_v2": {6, -1, true},
	"torch._utils._rebuild_tensor_v3": {7, 6, true},
}

// unreadTensors make tensors that cannot be read, for these reasons. Only a state
// dict that has one is refused.
var unreadTensors = map[global]string{
	"torch._utils._rebuild_sparse_tensor":            "is sparse, which is not supported: save its to_dense()",
	"torch._utils._rebuild_qtensor":                  "is quantized, which is not supported: save its dequantize()",
	"torch._utils._rebuild_meta_tensor_no_storage":   "has no elements: it was saved from the meta device",
	"torch._utils._rebuild_wrapper_subclass":         "is a wrapper around other tensors, which is not supported",
	"torch._utils._rebuild_device_tensor_from_numpy": "was saved from a device by way of NumPy, which is not supported: save its cpu()",
}

// reduce is REDUCE: a callable and its arguments.
func (p *pickle) reduce() error {
	items, err := p.popN(2)
	if err != nil {
		return err
	}
	args, isTuple := items[1].(tuple)
	if !isTuple {
		return p.malformed("the arguments of REDUCE are %s, a tuple expected", describeObject(items[1]))
	}
	return p.call(items[0], args)
}

// newObject is NEWOBJ: a class and its arguments.
func (p *pickle) newObject() error {
	items, err := p.popN(2)
	if err != nil {
		return err
	}
	class, _ := items[0].(global)
	if p.torchScript && strings.HasPrefix(string(class), "__torch__.") {
		return p.pushContainer(&record{class: string(class)})
	}
	args, isTuple := items[1].(tuple)
	if !isTuple {
		return p.malformed("the arguments of NEWOBJ are %s, a tuple expected", describeObject(items[1]))
	}
	return p.call(items[0], args)
}

// call pushes the result of the few callables that weights need. Nothing is ever
// called.
func (p *pickle) call(callable any, args tuple) error {
	g, _ := callable.(global)
	// Its arguments are a rebuild function, a class, the function's arguments and
	// attributes. The function may be this one again, as often as classes wrap each
	// other. A hostile pickle can nest a chain once and walk it often: for hours.
	for range 8 {
		if g != rebuildFromType || len(args) != 4 {
			break
		}
		inner, _ := args[2].(tuple)
		g, _ = args[0].(global)
		args = inner
	}
	t, isTensor := first[*pickledTensor](args)
	switch g {
	case orderedDict:
		return p.newDict(args)
	case counter: // which holds numbers, not tensors
		return p.pushContainer(&dict{})
	case size:
		if dims, ok := first[tuple](args); ok && len(args) == 1 {
			return p.push(dims)
		}
	case rebuildParameter, rebuildParameterWithState, parameter:
		if isTensor {
			return p.push(t)
		}
		return p.malformed("%s wants a tensor and two flags", plain(string(g)))
	case rebuildFromCPU: // (tensor, dtype, device, requires_grad)
		if isTensor && len(args) == 4 && args[1] == t.element.name {
			return p.push(t)
		}
		return p.malformed("%s wants a tensor of its dtype", plain(string(g)))
	}
	if _, ok := rebuilds[g]; ok {
		return p.newTensor(g, args)
	}
	if reason, ok := unreadTensors[g]; ok {
		return p.push(&pickledTensor{unread: reason})
	}
	if slices.Contains(inertCalls, g) {
		return p.push(inert(g))
	}
	return fail(ErrForbidden, "", "refused: the pickle calls %s (byte %d); nothing is ever called", describeObject(callable), p.op)
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
		if err := p.count(2 * len(d.keys)); err != nil {
			return err
		}
	}
	return p.pushContainer(d)
}

// newTensor pushes the tensor that a call of g, one of PyTorch's functions in
// rebuilds, describes.
func (p *pickle) newTensor(g global, args tuple) error {
	f := rebuilds[g]
	name := strings.TrimPrefix(string(g), "torch._utils.")
	if n := len(args) - f.required; n != 0 && !(n == 1 && f.metadata) {
		want := fmt.Sprint(f.required)
		if f.metadata {
			want += fmt.Sprint(" or ", f.required+1)
		}
		return p.malformed("%s wants %s arguments, %d given", name, want, len(args))
	}
	t := &pickledTensor{}
	var ok [4]bool
	var offset int64
	t.storage, ok[0] = args[0].(storageView)
	offset, ok[1] = args[1].(int64)
	t.shape, ok[2] = dims(args[2])
	t.stride, ok[3] = dims(args[3])
	if ok != [4]bool{true, true, true, true} || offset < 0 || int64(int(offset)) != offset || len(t.shape) != len(t.stride) {
		return p.malformed("%s wants a storage, an offset, a size and as many strides", name)
	}
	if err := p.count(2 * len(t.shape)); err != nil { // one memorized tuple can be the size of every tensor
		return err
	}
	t.offset, t.element = int(offset), t.storage.element
	if f.dtype >= 0 {
		dtype, _ := args[f.dtype].(global)
		if t.element, ok[0] = elements[dtype]; !ok[0] {
			return p.malformed("%s wants a dtype, has %s", name, describeObject(args[f.dtype]))
		}
	}
	if len(args) > f.required {
		d, ok := args[f.required].(*dict)
		switch {
		case ok && len(d.keys) > 8: // PyTorch has conj and neg, and get looks at every key
			return p.malformed("%s with metadata of %d keys", name, len(d.keys))
		case ok && (d.get("conj") == true || d.get("neg") == true):
			t.unread = "is stored conjugated or negated, which is not supported: save its resolve_conj().resolve_neg()"
		}
	}
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

// build is BUILD: the attributes of a record. Those of a dict, which PyTorch
// keeps versions in, and of inert objects are dropped.
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
	case *dict, inert:
		return nil
	default:
		return fail(ErrForbidden, "", "refused: the pickle sets the state of %s (byte %d)", describeObject(v), p.op)
	}
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
	case inert:
		return "what " + plain(string(v)) + " gives"
	case global:
		return plain(string(v))
	case storageView:
		return "a storage"
	case *pickledTensor:
		return "a tensor"
	}
	return "an unknown object"
}
