package tokenizer

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/hf"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/pytext"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer/internal/subword"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
)

// Tiktoken says which of OpenAI's encodings a folder holds and how open_clip's
// TikTokenTokenizer uses it.
type Tiktoken struct {
	Name         string // tiktoken_name; cl100k_base when empty
	Clean        Clean  // the text is taken as it is when empty
	NoBOS, NoEOS bool
}

// encoding is what tiktoken's openai_public.py says about a file of ranks.
type encoding struct {
	words string // regular expression, with atomic groups for possessive quantifiers
	top   int32  // the highest rank of the published file
	end   int32  // its <|endoftext|>
	size  int32  // its n_vocab: the highest id and one, special tokens among them
}

// gpt2Words also split the texts of GPT-3 and of RoBERTa.
const gpt2Words = `'(?:[sdmt]|ll|ve|re)| ?(?>\p{L}+)| ?(?>\p{N}+)| ?(?>[^\s\p{L}\p{N}]+)|(?>\s+)\z|\s+(?!\S)|\s`

// ending is (?i:'s|'t|'re|'ve|'m|'ll|'d); Unicode makes "ſ" an "s" there.
const ending = `'(?:[sSſtTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])`

var encodings = map[string]encoding{
	"r50k_base": {gpt2Words, 50255, 50256, 50257},
	"p50k_base": {gpt2Words, 50280, 50256, 50281},
	"cl100k_base": {ending + `|(?>[^\r\n\p{L}\p{N}]?)(?>\p{L}+)|(?>\p{N}{1,3})| ?(?>[^\s\p{L}\p{N}]+)(?>[\r\n]*)|(?>\s+)\z|\s*[\r\n]|\s+(?!\S)|\s`,
		100255, 100257, 100277},
	"o200k_base": {`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?:` + ending + `)?` +
		`|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?:` + ending + `)?` +
		`|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`, 199997, 199999, 200019},
}

// ranksSuffix ends the names of files of ranks.
const ranksSuffix = ".tiktoken"

// LoadTiktoken returns the tokenizer whose ranks lie in NAME.tiktoken at the root of
// fsys. As in open_clip's TikTokenTokenizer, the ids of end of text, padding and
// start of text follow those of the encoding, and names of special tokens within a
// text are plain text. The special tokens of a file that is not the published one
// are <|endoftext|> alone.
//
// Errors are those of [Load]; one about another Name lists those that there are.
func LoadTiktoken(fsys fs.FS, o Tiktoken) (t *Tokenizer, err error) {
	defer guard.Catch(&err)
	if o.Name == "" {
		o.Name = "cl100k_base"
	}
	e, ok := encodings[o.Name]
	if !ok {
		return nil, fmt.Errorf("tokenizer: tiktoken_name %q is not supported; supported are %s", o.Name,
			strings.Join(slices.Sorted(maps.Keys(encodings)), ", "))
	}
	file := o.Name + ranksSuffix
	data, found, err := readFile(fsys, file, maxVocabSize)
	if err == nil && !found {
		err = fmt.Errorf("tokenizer: no %s: %w", file, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	r, err := parseRanks(string(data), e)
	if err != nil {
		return nil, unusable(file, err)
	}
	frame := frame{eot: r.size, pad: r.size + 1, sot: r.size + 2, sep: none, last: none}
	if !o.NoBOS {
		frame.prefix = []int32{frame.sot}
	}
	if !o.NoEOS {
		frame.suffix = []int32{frame.eot}
	}
	t = &Tokenizer{coder: r, file: file, frame: frame}
	if o.Clean == "" {
		return t, nil
	}
	return t.WithClean(o.Clean)
}

// ranks is an encoding of tiktoken's: a token's id is the rank of the merge that
// makes it.
type ranks struct {
	ids    map[string]int32
	tokens map[int32]string
	words  func(text string) []string
	end    int32 // <|endoftext|>
	size   int32 // n_vocab, without the three ids that open_clip adds
}

// endOfText is the special token that every encoding has.
const endOfText = "<|endoftext|>"

// added are the tokens that open_clip puts behind an encoding's own.
var added = []string{"<eos>", "<pad>", "<bos>"}

// maxRank bounds the ids of a file of ranks; o200k_base has 200 thousand.
const maxRank = 1 << 20

func parseRanks(text string, e encoding) (r *ranks, err error) {
	r = &ranks{ids: map[string]int32{}, tokens: map[int32]string{}}
	if r.words, err = hf.Words(e.words); err != nil {
		return nil, err
	}
	number, top := 0, int32(0)
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		var token []byte
		var rank int64
		if len(fields) == 2 {
			token, err = base64.StdEncoding.DecodeString(fields[0])
			if err == nil {
				rank, err = strconv.ParseInt(fields[1], 10, 32)
			}
		}
		if err != nil || len(fields) != 2 || len(token) == 0 || rank < 0 || rank > maxRank {
			return nil, fmt.Errorf("line %d: %.60q is no token in base64 with its rank", number, strings.TrimSpace(line))
		}
		if other, ok := r.tokens[int32(rank)]; ok {
			return nil, fmt.Errorf("line %d: %q and %q have the same rank %d", number, other, token, rank)
		}
		if other, ok := r.ids[string(token)]; ok {
			return nil, fmt.Errorf("line %d: %q has the ranks %d and %d", number, token, other, rank)
		}
		r.tokens[int32(rank)], r.ids[string(token)] = string(token), int32(rank)
		top = max(top, int32(rank))
	}
	for b := range 256 {
		if _, ok := r.ids[string([]byte{byte(b)})]; !ok {
			return nil, fmt.Errorf("no token for byte 0x%02x", b)
		}
	}
	r.end, r.size = top+1, top+2
	if top == e.top {
		r.end, r.size = e.end, e.size
	}
	return r, nil
}

func (r *ranks) Encode(text string) (ids []int32) {
	for _, word := range r.words(text) {
		if id, ok := r.ids[word]; ok {
			ids = append(ids, id)
			continue
		}
		symbols := make([]subword.Symbol, len(word))
		for i := range symbols {
			symbols[i] = subword.Symbol{ID: r.ids[word[i:i+1]], Start: int32(i), End: int32(i) + 1}
		}
		symbols = subword.Merge(symbols, func(left, right subword.Symbol) (rank, id int32, ok bool) {
			id, ok = r.ids[word[left.Start:right.End]]
			return id, id, ok
		}, false)
		for _, s := range symbols {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// Decode leaves out the ids that open_clip adds.
func (r *ranks) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if token, ok := r.Token(id); ok && id < r.size {
			b.WriteString(token)
		}
	}
	return pytext.DecodeUTF8(b.String())
}

func (r *ranks) Token(id int32) (string, bool) {
	if token, ok := r.tokens[id]; ok {
		return token, true
	}
	switch at := int(id) - int(r.size); {
	case at >= 0 && at < len(added):
		return added[at], true
	case id == r.end:
		return endOfText, true
	}
	return "", false
}

func (r *ranks) Find(token string) (int32, bool) {
	if token == endOfText {
		return r.end, true
	}
	if at := slices.Index(added, token); at >= 0 {
		return r.size + int32(at), true
	}
	id, ok := r.ids[token]
	return id, ok
}

func (r *ranks) VocabSize() int { return int(r.size) + len(added) }
