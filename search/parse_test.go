package search

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/internal/fuzztest"
)

func TestParse(t *testing.T) {
	for query, want := range map[string]struct {
		terms []Term
		names []string
	}{
		"":                   {},
		" \t ":               {},
		"beach":              {terms: []Term{{Text: "beach", Weight: 1}}},
		" beach  at\tnight ": {terms: []Term{{Text: "beach at night", Weight: 1}}},
		`beach +sunset:0.5 -people "IMG_12"`: {
			[]Term{{Text: "beach", Weight: 1}, {Text: "sunset", Weight: 0.5}, {Text: "people", Weight: -1}}, []string{"IMG_12"},
		},
		"beach:2 old town":     {terms: []Term{{Text: "beach", Weight: 2}, {Text: "old town", Weight: 1}}},
		"+ old town:.5 - rain": {terms: []Term{{Text: "old town", Weight: 0.5}, {Text: "rain", Weight: -1}}},
		"-old town:-2":         {terms: []Term{{Text: "old town", Weight: 2}}},
		"t-shirt 1+1 a:b x:":   {terms: []Term{{Text: "t-shirt 1+1 a:b x:", Weight: 1}}},
		"x:nan y:inf z:0x10":   {terms: []Term{{Text: "x:nan y:inf z:0x10", Weight: 1}}},
		"beach :2":             {terms: []Term{{Text: "beach", Weight: 2}}},
		`"a b"c "d"`:           {[]Term{{Text: "c", Weight: 1}}, []string{"a b", "d"}},
		`5" screen`:            {terms: []Term{{Text: `5" screen`, Weight: 1}}},
		"plage été 海滩":         {terms: []Term{{Text: "plage été 海滩", Weight: 1}}},
		"a\u00a0b\u3000-c":     {terms: []Term{{Text: "a b", Weight: 1}, {Text: "c", Weight: -1}}},
	} {
		q, err := Parse(query)
		require.NoError(t, err, query)
		assert.Equal(t, want.terms, q.Terms, query)
		assert.Equal(t, want.names, q.Names, query)
	}
}

func TestParseRefuses(t *testing.T) {
	for query, want := range map[string]string{
		"beach +":       `"+"`,
		"beach + -x":    `"+"`,
		`-"IMG_12"`:     `-"IMG_12"`,
		`beach "IMG_12`: `IMG_12`,
		`beach ""`:      `""`,
		"beach:0":       `"beach"`,
		"beach:1e-60":   `"beach"`,
		"beach:1e9":     `"beach"`,
		"beach:1e999":   `"beach"`,
		"+:2":           "2",
	} {
		_, err := Parse(query)
		require.ErrorIs(t, err, clip.ErrInput, query)
		assert.ErrorContains(t, err, want, query)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", `beach +sunset:0.5 -people "IMG_12"`, "+", "-:1", `"`, "a:1e309 b", "+\xff:2", "\u3000-x:.5 \u00a0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		var q Query
		if fuzztest.Within(t, func() (err error) { q, err = Parse(query); return err }) != nil {
			return
		}
		for _, term := range q.Terms {
			require.NotEmpty(t, term.Text)
			require.NotZero(t, term.Weight)
			require.False(t, math.IsInf(float64(term.Weight), 0) || math.IsNaN(float64(term.Weight)))
			require.NoError(t, term.check())
		}
		for _, name := range q.Names {
			require.NotEmpty(t, name)
			require.Contains(t, query, name)
		}
		if strings.TrimSpace(query) != "" {
			require.NotZero(t, len(q.Terms)+len(q.Names))
		}
	})
}
