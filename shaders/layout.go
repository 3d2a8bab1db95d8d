package shaders

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	structDecl = regexp.MustCompile(`\bstruct\s+(\w+)\s*\{([^}]*)\}`)
	aliasDecl  = regexp.MustCompile(`\balias\s+(\w+)\s*=\s*([^;]+?)\s*;`)
)

// types are the structs (field types in order) and aliases that a kernel declares.
type types struct {
	structs map[string][]string
	aliases map[string]string
}

func declaredTypes(code string) types {
	t := types{map[string][]string{}, map[string]string{}}
	for _, m := range structDecl.FindAllStringSubmatch(code, -1) {
		fields := []string{}
		for _, f := range splitTop(m[2]) {
			_, typ, _ := strings.Cut(f, ":")
			fields = append(fields, strings.TrimSpace(typ))
		}
		t.structs[m[1]] = fields
	}
	for _, m := range aliasDecl.FindAllStringSubmatch(code, -1) {
		t.aliases[m[1]] = m[2]
	}
	return t
}

// sizeAndAlign gives a type's size and alignment in bytes by the table of WGSL §14.4.1 (Alignment and Size).
func (t types) sizeAndAlign(typ string) (size, align int, err error) {
	name, args := splitType(canonical(typ))
	if fields, ok := t.structs[name]; ok {
		return t.structSizeAndAlign(fields)
	}
	if to, ok := t.aliases[name]; ok {
		return t.sizeAndAlign(to)
	}
	var cols, rows int
	switch {
	case name == "f32" || name == "u32" || name == "i32" || name == "bool" || name == "atomic":
		return 4, 4, nil
	case scan(name, "vec%d", &rows):
		return 4 * rows, vecAlign(rows), nil
	case scan(name, "mat%dx%d", &cols, &rows):
		return cols * vecAlign(rows), vecAlign(rows), nil
	case name == "array" && len(args) == 2:
		size, align, err = t.sizeAndAlign(args[0])
		n, convErr := strconv.Atoi(args[1])
		if err == nil && convErr == nil {
			return n * roundUp(size, align), align, nil
		}
	}
	return 0, 0, fmt.Errorf("type %s has no known size", typ)
}

func (t types) structSizeAndAlign(fields []string) (size, align int, err error) {
	for _, f := range fields {
		s, a, err := t.sizeAndAlign(f)
		if err != nil {
			return 0, 0, err
		}
		size, align = roundUp(size, a)+s, max(align, a)
	}
	return roundUp(size, max(align, 1)), align, nil
}

// vecAlign is the alignment of a vector of n 32-bit scalars: a vec3 takes the room of a vec4.
func vecAlign(n int) int { return 4 * (n + n%2) }

func roundUp(n, to int) int { return (n + to - 1) / to * to }

func scan(s, format string, into ...any) bool {
	_, err := fmt.Sscanf(s, format, into...)
	return err == nil
}

// splitType splits "array<f32, 4>" into its name and arguments.
func splitType(typ string) (name string, args []string) {
	name, rest, generic := strings.Cut(strings.TrimSpace(typ), "<")
	if generic {
		args = splitTop(rest[:closing(rest)])
	}
	return strings.TrimSpace(name), args
}
