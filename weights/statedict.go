package weights

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of names. A hostile archive can use one string as every name, so that
// names take far more memory than the file.
const (
	maxModules   = 1000     // nested in a TorchScript archive
	maxName      = 4 << 10  // bytes of one name
	maxNameBytes = 16 << 20 // of all names
)

// get is the value of a key, the last of several, or nil.
func (d *dict) get(key text) any {
	for i := len(d.keys) - 1; i >= 0; i-- {
		if d.keys[i] == key {
			return d.values[i]
		}
	}
	return nil
}

// flattener collects the tensors of a pickled object under their dotted names.
type flattener struct {
	fileSize, visited, nameBytes int
	tensors                      []Stored
}

// stateDict returns the tensors of what torch.save or torch.jit.save stored, in
// ascending order of name: those of a state dict, of the one under "state_dict"
// in a training checkpoint, or of all of a module's attributes.
func stateDict(object any, fileSize int) ([]Stored, map[string]string, error) {
	f := &flattener{fileSize: fileSize}
	metadata := map[string]string(nil)
	switch v := object.(type) {
	case *record:
		metadata = map[string]string{"format": "torchscript"}
		if err := f.attributes("", v, 0); err != nil {
			return nil, nil, err
		}
	case *dict:
		if inner, ok := v.get("state_dict").(*dict); ok {
			v = inner
		}
		if err := f.entries(v); err != nil {
			return nil, nil, err
		}
		if len(f.tensors) == 0 {
			return nil, nil, fail(ErrNotWeights, "", "holds no tensors where a state dict has them; its keys are %s", v.firstKeys())
		}
	default:
		return nil, nil, fail(ErrNotWeights, "", "holds %s, a state dict expected; %s", describeObject(object), howToConvert)
	}
	slices.SortFunc(f.tensors, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(f.tensors); i++ {
		if name := f.tensors[i].Name; name == f.tensors[i-1].Name {
			return nil, nil, fail(ErrMalformed, name, "two tensors have this name")
		}
	}
	return f.tensors, metadata, nil
}

// entries takes the tensors among a state dict's values.
func (f *flattener) entries(d *dict) error {
	for i, key := range d.keys {
		t, ok := d.values[i].(*pickledTensor)
		if !ok {
			continue
		}
		name, ok := key.(text)
		if !ok {
			return fail(ErrMalformed, "", "a tensor's name is %s, a string expected", describeObject(key))
		}
		if err := checkName("", name); err != nil {
			return err
		}
		if err := f.add(string(name), t); err != nil {
			return err
		}
	}
	return nil
}

// attributes takes the tensors of a module and of those within it.
func (f *flattener) attributes(prefix string, r *record, depth int) error {
	state, ok := r.state.(*dict)
	if !ok {
		return nil
	}
	if depth == maxModules {
		return fail(ErrMalformed, "", "modules nest deeper than %d", maxModules)
	}
	for i, key := range state.keys {
		// A hostile archive can reach one module in exponentially many ways.
		if f.visited++; f.visited > maxPickled {
			return fail(ErrMalformed, "", "more than %d attributes", maxPickled)
		}
		name, isName := key.(text)
		if !isName {
			continue
		}
		var err error
		switch v := state.values[i].(type) {
		case *pickledTensor:
			if err = checkName(prefix, name); err == nil {
				err = f.add(prefix+string(name), v)
			}
		case *record:
			if err = checkName(prefix, name); err == nil {
				err = f.attributes(prefix+string(name)+".", v, depth+1)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkName refuses names that are too long, before they are put together.
func checkName(prefix string, name text) error {
	if n := len(prefix) + len(name); n > maxName {
		return fail(ErrMalformed, "", "a name of %d bytes, at most %d expected: %s", n, maxName, quote(prefix[:min(len(prefix), maxQuoted)]+string(name)))
	}
	return nil
}

func (f *flattener) add(name string, t *pickledTensor) error {
	if f.nameBytes += len(name); f.nameBytes > maxNameBytes || len(f.tensors) == maxNames {
		return fail(ErrMalformed, "", "more than %d tensors, or %d bytes of names", maxNames, maxNameBytes)
	}
	stored, err := t.tensor(name, f.fileSize)
	f.tensors = append(f.tensors, stored)
	return err
}

// firstKeys lists some keys, for an error.
func (d *dict) firstKeys() string {
	var names []string
	for _, key := range d.keys[:min(len(d.keys), 5)] {
		names = append(names, describeObject(key))
	}
	if n := len(d.keys) - len(names); n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}
