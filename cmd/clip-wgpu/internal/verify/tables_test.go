package verify

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
)

// One wrong value of a table, or one wrong number of a digest, fails.
func TestOneWrongTableValueFails(t *testing.T) {
	dir := copyCase(t, "tables")
	path := filepath.Join(dir, "tables.json")
	var all map[string]any
	readJSON(t, path, &all)
	table := func(name string) map[string]any { return all[name].(map[string]any) }
	want := []string{"modernbert.layer_types", "t5.buckets"}
	all["modernbert.layer_types"].([]any)[1] = "f"
	table("t5.buckets")["bucket"].([]any)[598] = 30
	for name := range all {
		if table, ok := all[name].(map[string]any); ok && table["rows"] != nil {
			first := table["rows"].(map[string]any)["0"].([]any)
			first[len(first)-1] = first[len(first)-1].(float64) + 3e-5
			want = append(want, name)
		}
	}
	digest := table("relpos.index")["digest"].([]any)
	digest[2] = digest[2].(float64) + 0.01
	want = append(want, "relpos.index.digest")
	table("swin.attn_mask")["shape"] = []int{7, 49}
	table("swin.attn_mask")["rows"] = map[string]any{"0": []float64{0}}
	writeJSON(t, path, all)
	v := newVerifier(t, gpu.Options{})
	rows, err := v.Run(t.Context(), dir)
	require.NoError(t, err)
	assert.ElementsMatch(t, want, failed(rows))
}

// Files that ask for what there is not are named with the table.
func TestTablesThatCannotBe(t *testing.T) {
	const rows = `"rows": {"0": [0]}`
	for content, says := range map[string]string{
		`[]`: "cannot unmarshal array",
		`{"dance": {"shape": [2, 2], ` + rows + `}}`:                                     "tables.json: dance: there is no table of that name",
		`{"relpos.index": 3}`:                                                            "tables.json: relpos.index",
		`{"relpos.index": {}}`:                                                           "want a shape and rows",
		`{"relpos.index": {"shape": [], ` + rows + `}}`:                                  "want a shape and rows",
		`{"relpos.index": {"shape": [4]}}`:                                               "want a shape and rows",
		`{"relpos.index": {"shape": [0, 4], ` + rows + `}}`:                              "shape [0 4], want 1 to",
		`{"relpos.index": {"shape": [65536, 65536, 4294967296], ` + rows + `}}`:          "want 1 to 4194304 elements",
		`{"relpos.index": {"shape": [2, 2], "rows": {"2": [0]}}}`:                        `row "2" of 1 columns, want one of shape [2 2]`,
		`{"relpos.index": {"shape": [2, 2], "rows": {"a": [0]}}}`:                        `row "a"`,
		`{"relpos.index": {"shape": [2, 2], "rows": {"0": [0, 0, 0]}}}`:                  `row "0" of 3 columns`,
		`{"t5.buckets": {"bucket": []}}`:                                                 "shape [1 0]",
		`{"t5.buckets": {"bucket": [1]}}`:                                                "relative is [0 0 0]",
		`{"t5.buckets": {"relative": [-1000000000, 0, 1], "bucket": [1]}}`:               "relative is [-1000000000 0 1]",
		`{"sinusoid.nllb": {"shape": [2, 4], ` + rows + `}}`:                             "a text of 0 tokens",
		`{"rope.modernbert.slow": {"shape": [2, 2], ` + rows + `}}`:                      `"slow" is neither full_attention nor sliding_attention`,
		`{"rope.modernbert.full_attention": {"shape": [4000000], ` + rows + `}}`:         "a text of 4000000 tokens, want 1 to 4096",
		`{"rope.resnet99": {"shape": [2, 2], ` + rows + `}}`:                             `none of open_clip's models has the trunk "resnet99"`,
		`{"rope.convnext_base": {"shape": [2, 2], ` + rows + `}}`:                        "the tower of this model has no rope",
		`{"naflex_pos.naflexvit_base_patch16_gap": {"shape": [2, 2], ` + rows + `}}`:     "a grid HxW of up to 128",
		`{"naflex_pos.vit_base_patch16_224.3x3": {"shape": [9, 4], ` + rows + `}}`:       `trunk "vit_base_patch16_224" takes images of one size`,
		`{"naflex_pos.naflexvit_base_patch16_gap.3x0": {"shape": [2, 2], ` + rows + `}}`: "a grid HxW of up to 128",
	} {
		dir := copyCase(t, "tables")
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tables.json"), []byte(content), 0o666))
		_, err := newVerifier(t, gpu.Options{}).Run(t.Context(), dir)
		require.ErrorIs(t, err, ErrCannotRun, content)
		assert.ErrorContains(t, err, says, content)
		assert.NotContains(t, err.Error(), "\n")
	}
}
