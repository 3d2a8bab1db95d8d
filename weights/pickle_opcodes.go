package weights

import "fmt"

// opcodes are those that are allowed, with what they do; load knows STOP.
var opcodes [256]func(*pickle) error

func init() {
	opcodes = [256]func(*pickle) error{
		0x80: (*pickle).proto,
		'}':  func(p *pickle) error { return p.pushContainer(&dict{}) },
		']':  func(p *pickle) error { return p.pushContainer(&list{}) },
		')':  func(p *pickle) error { return p.push(tuple(nil)) },
		0x8f: func(p *pickle) error { return p.push(set{}) },
		'(':  (*pickle).mark,
		0x85: func(p *pickle) error { return p.tuple(1) },
		0x86: func(p *pickle) error { return p.tuple(2) },
		0x87: func(p *pickle) error { return p.tuple(3) },
		't':  (*pickle).tupleToMark,
		'X':  func(p *pickle) error { return p.string(4) },
		'U':  func(p *pickle) error { return p.string(1) },
		'J':  func(p *pickle) error { return p.int(4) },
		'K':  func(p *pickle) error { return p.int(1) },
		'M':  func(p *pickle) error { return p.int(2) },
		0x8a: (*pickle).long,
		'G':  (*pickle).float,
		'N':  func(p *pickle) error { return p.push(nil) },
		0x88: func(p *pickle) error { return p.push(true) },
		0x89: func(p *pickle) error { return p.push(false) },
		'q':  func(p *pickle) error { return p.put(1) },
		'r':  func(p *pickle) error { return p.put(4) },
		'h':  func(p *pickle) error { return p.get(1) },
		'j':  func(p *pickle) error { return p.get(4) },
		's':  (*pickle).setItem,
		'u':  (*pickle).setItems,
		'a':  (*pickle).append,
		'e':  (*pickle).appends,
		'Q':  (*pickle).persistentID,
		'c':  (*pickle).global,
		'R':  (*pickle).reduce,
		'b':  (*pickle).build,
		0x81: (*pickle).newObject,
	}
}

// refusedOpcodes are the names of the others, for errors.
var refusedOpcodes = map[byte]string{
	'0': "POP", '1': "POP_MARK", '2': "DUP", 'F': "FLOAT", 'I': "INT", 'L': "LONG", 'P': "PERSID", 'S': "STRING",
	'T': "BINSTRING", 'V': "UNICODE", 'd': "DICT", 'g': "GET", 'i': "INST", 'l': "LIST", 'o': "OBJ", 'p': "PUT",
	'B': "BINBYTES", 'C': "SHORT_BINBYTES", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x8b: "LONG4",
	0x8c: "SHORT_BINUNICODE", 0x8d: "BINUNICODE8", 0x8e: "BINBYTES8", 0x90: "ADDITEMS", 0x91: "FROZENSET",
	0x92: "NEWOBJ_EX", 0x93: "STACK_GLOBAL", 0x94: "MEMOIZE", 0x95: "FRAME", 0x96: "BYTEARRAY8",
	0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
}

func opcodeName(code byte) string {
	if name, ok := refusedOpcodes[code]; ok {
		return name
	}
	return fmt.Sprintf("0x%02x", code)
}
