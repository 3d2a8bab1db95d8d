package verify

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// recordedTokenizer is what one tokenizer made of the case's texts.
type recordedTokenizer struct {
	Name          string
	Folder        string // of the tokenizer's files
	ContextLength int    `json:"context_length"`
	Kwargs        tokenizerKwargs
	PadID         *int32 `json:"pad_id"`
	SOTID         *int32 `json:"sot_id"` // null without
	EOTID         *int32 `json:"eot_id"`
	VocabSize     int    `json:"vocab_size"`
	IDs           [][]int32
	// Other ids by the text's number, where transformers 4 and 5 differ.
	IDs4 map[int][]int32 `json:"ids_transformers_4"`
}

// tokenizerKwargs are options of open_clip's tokenizers.
type tokenizerKwargs struct {
	Clean         tokenizer.Clean `json:"clean"`
	StripSepToken bool            `json:"strip_sep_token"`
	Mode          string          `json:"tokenizer_mode"`
	Language      string          `json:"language"` // without effect, as in open_clip
	AddBOS        *bool           `json:"add_bos"`
	AddEOS        *bool           `json:"add_eos"`
}

func (k *tokenizerKwargs) UnmarshalJSON(data []byte) error { return strictjson.Struct(data, k) }

// tokenizerForms are the files that a tokenizer can be made of, each alone.
var tokenizerForms = [][]string{
	{"tokenizer.json"}, {"vocab.json", "merges.txt"}, {"vocab.txt"},
	{"spiece.model"}, {"sentencepiece.bpe.model"}, {"tokenizer.model"}, {"sentencepiece.model"},
}

// besideForms are the files that go with any of them.
var besideForms = []string{"config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}

// verifyHFTokenizers makes, for every recorded tokenizer and every form that its
// folder gives it in, a row for the ids and a row for the special ids.
func verifyHFTokenizers(ctx context.Context, c *testCase) error {
	var recorded struct {
		Texts []string
		Cases []recordedTokenizer
	}
	if err := c.decodeGzip("rows.json.gz", &recorded); err != nil {
		return err
	}
	for _, r := range recorded.Cases {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(r.IDs) != len(recorded.Texts) || r.ContextLength < 1 || r.PadID == nil {
			return fmt.Errorf("rows.json.gz: %s: %d rows of %d ids for %d texts, or no pad_id", r.Name, len(r.IDs), r.ContextLength, len(recorded.Texts))
		}
		if !fs.ValidPath(r.Folder) {
			return fmt.Errorf("rows.json.gz: %s: %q is no folder of the case", r.Name, r.Folder)
		}
		forms, err := c.tokenizers(&r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		for _, f := range forms {
			if err := c.compareTokenizer(r.Name+" "+f.name, f.tokenizer, &r, recorded.Texts); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
	}
	if len(c.rows) == 0 {
		return fmt.Errorf("rows.json.gz: has no cases")
	}
	return nil
}

// decodeGzip is decode for a file that is packed.
func (c *testCase) decodeGzip(name string, dst any) error {
	packed, err := smallfile.Read(c.path(name), maxJSON)
	if err != nil {
		return err
	}
	unzip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	data, err := io.ReadAll(io.LimitReader(unzip, maxJSON))
	if err == nil {
		err = json.Unmarshal(data, dst)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// tokenizerForm is a tokenizer and the file that it is made of.
type tokenizerForm struct {
	name      string
	tokenizer *tokenizer.Tokenizer
}

// tokenizers loads a tokenizer from each form that its folder gives it in.
func (c *testCase) tokenizers(r *recordedTokenizer) (forms []tokenizerForm, err error) {
	folder := os.DirFS(c.path(r.Folder))
	ranks, err := fs.Glob(folder, "*.tiktoken")
	if err != nil {
		return nil, err
	}
	for _, file := range ranks {
		t, err := tokenizer.LoadTiktoken(folder, tokenizer.Tiktoken{
			Name: strings.TrimSuffix(file, ".tiktoken"), Clean: r.Kwargs.Clean,
			NoBOS: r.Kwargs.AddBOS != nil && !*r.Kwargs.AddBOS, NoEOS: r.Kwargs.AddEOS != nil && !*r.Kwargs.AddEOS,
		})
		if err != nil {
			return nil, err
		}
		forms = append(forms, tokenizerForm{file, t})
	}
	for _, files := range tokenizerForms {
		if !slices.ContainsFunc(files, func(name string) bool { return c.has(path.Join(r.Folder, name)) }) {
			continue
		}
		t, err := tokenizer.LoadHuggingFace(only{folder, append(files, besideForms...)}, tokenizer.HuggingFace{
			Name: r.Folder, Clean: r.Kwargs.Clean, StripSepToken: r.Kwargs.StripSepToken, Mode: r.Kwargs.Mode,
		})
		if err != nil {
			return nil, err
		}
		forms = append(forms, tokenizerForm{files[0], t})
	}
	if len(forms) == 0 {
		err = fmt.Errorf("no tokenizer in folder %s: %w", r.Folder, fs.ErrNotExist)
	}
	return forms, err
}

// only shows some files of a folder.
type only struct {
	fs.FS
	names []string
}

func (o only) Open(name string) (fs.File, error) {
	if !slices.Contains(o.names, name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return o.FS.Open(name)
}

// compareTokenizer counts the texts whose rows, padded or not, are not as recorded.
func (c *testCase) compareTokenizer(name string, t *tokenizer.Tokenizer, r *recordedTokenizer, texts []string) error {
	padded, err := t.Tokenize(texts, r.ContextLength)
	if err != nil {
		return err
	}
	unpadded, err := t.Unpadded(texts, r.ContextLength)
	if err != nil {
		return err
	}
	wrong, first := 0, ""
	for i := range texts {
		right := func(want []int32) bool {
			row := slices.Clone(want)
			for len(row) < r.ContextLength {
				row = append(row, *r.PadID)
			}
			whole := len(want) == r.ContextLength && len(unpadded[i]) <= len(want) // with its padding
			return slices.Equal(padded[i], row) && (slices.Equal(unpadded[i], want) || whole && slices.Equal(unpadded[i], want[:len(unpadded[i])]))
		}
		if other, ok := r.IDs4[i]; right(r.IDs[i]) || ok && right(other) {
			continue
		}
		if wrong++; wrong == 1 {
			first = fmt.Sprintf(", text %d is the first wrong one", i)
		}
	}
	c.add(name, float64(wrong), 0, fmt.Sprintf("%d of %d%s", len(texts)-wrong, len(texts), first))
	want := func(id *int32) int32 {
		if id == nil {
			return -1
		}
		return *id
	}
	got := [3]int32{t.SOT(), t.EOT(), int32(t.VocabSize())}
	recorded := [3]int32{want(r.SOTID), want(r.EOTID), int32(r.VocabSize)}
	note := ""
	if got != recorded {
		note = fmt.Sprintf("start, end and size are %d, want %d", got, recorded)
	}
	c.check(name+" special ids", got == recorded, note)
	return nil
}
