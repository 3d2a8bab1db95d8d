package tokenizer

import (
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/ftfy"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/pytext"
)

// Clean names what is done to a text before it is split into words. The values
// are those of open_clip's tokenizer_kwargs.
type Clean string

// The cleanings of open_clip. All of them repair the text with ftfy, decode HTML
// entities and make one space of every run of white space.
const (
	CleanLower                Clean = "lower"                 // lower case: what CLIP was trained with
	CleanCanonicalize         Clean = "canonicalize"          // lower case, no ASCII punctuation
	CleanWhitespace           Clean = "whitespace"            // case kept
	CleanWhitespaceUnderscore Clean = "whitespace_underscore" // case kept, "_" is a space
)

var cleanings = map[Clean]func(string) string{
	CleanLower:        func(s string) string { return pytext.Lower(pytext.CollapseSpace(basicClean(s))) },
	CleanCanonicalize: func(s string) string { return canonicalize(basicClean(s)) },
	CleanWhitespace:   func(s string) string { return pytext.CollapseSpace(basicClean(s)) },
	CleanWhitespaceUnderscore: func(s string) string {
		return pytext.CollapseSpace(strings.ReplaceAll(basicClean(s), "_", " "))
	},
}

// basicClean unescapes twice because captions from the web often were escaped
// twice.
func basicClean(s string) string {
	return pytext.Strip(pytext.Unescape(pytext.Unescape(ftfy.FixText(s))))
}

func canonicalize(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '_':
			return ' '
		case strings.ContainsRune("!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~", r):
			return -1
		}
		return r
	}, s)
	return pytext.CollapseSpace(pytext.Lower(s))
}
