package shaders

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	bindingDecl = regexp.MustCompile(`@group\(\s*(\d+)u?\s*\)\s*@binding\(\s*(\d+)u?\s*\)\s*var\s*<\s*([\w,\s]+?)\s*>\s*(\w+)\s*:\s*([^;]+?)\s*;`)
	bindingAttr = regexp.MustCompile(`@binding\b`)
	entryPoint  = regexp.MustCompile(`@compute\s+@workgroup_size\(([^)]*)\)\s*fn\s+main\b`)
	entryAttr   = regexp.MustCompile(`@compute\b`)
	sharedDecl  = regexp.MustCompile(`var\s*<\s*workgroup\s*>\s*(\w+)\s*:\s*([^;]+?)\s*;`)
	constDefine = regexp.MustCompile(`(?m)^const (\w+): [iu]32 = (-?\d+)u?;`)
	shortVector = regexp.MustCompile(`\b(vec[234]|mat[234]x[234])([fiu])\b`)
	blanks      = regexp.MustCompile(`\s+`)
)

// reflection reads declarations from lowered code. A position in code leads back to a line for messages.
type reflection struct {
	lines []line
	code  string
	types types
}

func (r *reflection) errorf(pos int, format string, args ...any) error {
	return r.lines[strings.Count(r.code[:pos], "\n")].errorf(format, args...)
}

// reflect makes a kernel of lowered lines.
func reflect(name string, lines []line) (*Kernel, error) {
	var source, code strings.Builder
	for _, ln := range lines {
		source.WriteString(ln.text + "\n")
		code.WriteString(ln.code() + "\n")
	}
	r := &reflection{lines: lines, code: code.String()}
	r.types = declaredTypes(r.code)
	k := &Kernel{Name: name, WGSL: source.String()}
	for _, step := range []func(*Kernel) error{r.bindings, r.entry, r.shared, r.tile, r.consts} {
		if err := step(k); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (r *reflection) bindings(k *Kernel) error {
	decls := bindingDecl.FindAllStringSubmatchIndex(r.code, -1)
	for i, attr := range bindingAttr.FindAllStringIndex(r.code, -1) {
		if i >= len(decls) || attr[0] < decls[i][0] || attr[0] > decls[i][1] {
			return r.errorf(attr[0], "want `@group(0) @binding(N) var<uniform or storage, ACCESS> NAME: TYPE;`")
		}
	}
	k.Bindings = make([]Binding, len(decls))
	for _, d := range decls {
		field := func(i int) string { return r.code[d[2*i]:d[2*i+1]] }
		n, err := strconv.Atoi(field(2))
		switch {
		case field(1) != "0":
			return r.errorf(d[0], "%s is in group %s, only group 0 is used", field(4), field(1))
		case err != nil || n >= len(decls):
			return r.errorf(d[0], "%s has binding %s, want 0 to %d without gaps", field(4), field(2), len(decls)-1)
		case k.Bindings[n].Name != "":
			return r.errorf(d[0], "%s and %s share binding %d", k.Bindings[n].Name, field(4), n)
		}
		k.Bindings[n].Name = field(4)
		space := blanks.ReplaceAllString(field(3), "")
		if space == "uniform" && n == 0 {
			k.Bindings[n].Elem = field(5)
			if k.Params, err = r.params(field(5)); err != nil {
				return r.errorf(d[0], "%w", err)
			}
			continue
		}
		if k.Bindings[n].Access, err = access(space); err != nil {
			return r.errorf(d[0], "%s: %w", field(4), err)
		}
		elem, ok := runtimeArray(field(5))
		if !ok {
			return r.errorf(d[0], "%s is %s, want a runtime-sized array", field(4), field(5))
		}
		k.Bindings[n].Elem = elem
	}
	return nil
}

func access(space string) (Access, error) {
	switch space {
	case "storage", "storage,read":
		return Read, nil
	case "storage,read_write":
		return ReadWrite, nil
	case "uniform":
		return 0, fmt.Errorf("only binding 0 may be a uniform")
	}
	return 0, fmt.Errorf("var<%s> is not a buffer that a kernel can bind", space)
}

// runtimeArray is T of array<T>, spelled the long way.
func runtimeArray(typ string) (elem string, ok bool) {
	name, args := splitType(typ)
	if name != "array" || len(args) != 1 {
		return "", false
	}
	return canonical(args[0]), true
}

// canonical spells a type without blanks and with vec4f as vec4<f32>.
func canonical(typ string) string {
	typ = shortVector.ReplaceAllString(blanks.ReplaceAllString(typ, ""), "$1<${2}32>")
	return strings.ReplaceAll(typ, ",", ", ")
}

// params are the field types of the uniform struct.
func (r *reflection) params(name string) ([]string, error) {
	fields, ok := r.types.structs[name]
	if !ok || len(fields) == 0 {
		return nil, fmt.Errorf("the uniform's type %s is not a struct with fields", name)
	}
	for _, typ := range fields {
		if !slices.Contains([]string{"u32", "i32", "f32"}, typ) {
			return nil, fmt.Errorf("struct %s has a field of type %s, want only u32, i32 and f32", name, typ)
		}
	}
	return fields, nil
}

func (r *reflection) entry(k *Kernel) error {
	found := entryPoint.FindAllStringSubmatchIndex(r.code, -1)
	if n := len(entryAttr.FindAllString(r.code, -1)); n != 1 || len(found) != 1 {
		return fmt.Errorf("%s: want one entry point `@compute @workgroup_size(N) fn main`", r.lines[0].file)
	}
	k.Workgroup = [3]uint32{1, 1, 1}
	sizes := splitTop(r.code[found[0][2]:found[0][3]])
	if len(sizes) < 1 || len(sizes) > 3 {
		return r.errorf(found[0][0], "@workgroup_size takes one to three sizes")
	}
	for i, s := range sizes {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return r.errorf(found[0][0], "@workgroup_size: %w", err)
		}
		k.Workgroup[i] = uint32(n)
	}
	return nil
}

func (r *reflection) shared(k *Kernel) error {
	for _, d := range sharedDecl.FindAllStringSubmatchIndex(r.code, -1) {
		size, _, err := r.types.sizeAndAlign(r.code[d[4]:d[5]])
		if err != nil {
			return r.errorf(d[0], "%s: %w", r.code[d[2]:d[3]], err)
		}
		k.Shared += roundUp(size, 16)
	}
	return nil
}

// tile reads the line that lowering has put numbers into.
func (r *reflection) tile(k *Kernel) error {
	for _, ln := range r.lines {
		sizes, ok := strings.CutPrefix(ln.text, tileMark)
		if !ok {
			continue
		}
		if k.Tile != [2]int{} {
			return ln.errorf("a second %sline", tileMark)
		}
		k.Tile = [2]int{1, 1}
		for i, n := range strings.Fields(sizes) {
			size, err := strconv.Atoi(n)
			if err != nil {
				return ln.errorf("%w", err)
			}
			k.Tile[i] = size
		}
	}
	return nil
}

// consts reads the const lines as lowering has written them.
func (r *reflection) consts(k *Kernel) error {
	k.Consts = map[string]int{}
	for _, m := range constDefine.FindAllStringSubmatch(r.code, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return fmt.Errorf("%s: const %s: %w", r.lines[0].file, m[1], err)
		}
		k.Consts[m[1]] = n
	}
	return nil
}
