package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets tests start this binary as the program.
func TestMain(m *testing.M) {
	if os.Getenv("CLIP_WGPU_TEST_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

const examples = "../../clip/emoji-clip/examples"

func example(name string) string { return filepath.Join(examples, name+".png") }

// outcome is what a run of the program left.
type outcome struct {
	code           int
	stdout, stderr string
}

func program(t *testing.T, args ...string) outcome {
	t.Helper()
	return programWithInput(t, "", args...)
}

func programWithInput(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// requireFailure checks the manner of every failure: one line, on stderr only,
// that names what is wrong.
func (o outcome) requireFailure(t *testing.T, code int, names ...string) {
	t.Helper()
	require.Equal(t, code, o.code, "exit code; stderr: %s", o.stderr)
	assert.Empty(t, o.stdout)
	require.True(t, strings.HasPrefix(o.stderr, "clip-wgpu: "), o.stderr)
	assert.Equal(t, 1, strings.Count(o.stderr, "\n"), o.stderr)
	for _, name := range names {
		assert.Contains(t, o.stderr, name)
	}
}

func (o outcome) requireDone(t *testing.T) {
	t.Helper()
	require.Equal(t, exitOK, o.code, o.stderr)
	require.Empty(t, o.stderr)
}

// decodeLines decodes JSON lines.
func decodeLines[T any](t *testing.T, lines string) []T {
	t.Helper()
	var values []T
	d := json.NewDecoder(strings.NewReader(lines))
	for d.More() {
		var v T
		require.NoError(t, d.Decode(&v))
		values = append(values, v)
	}
	assert.Equal(t, len(values), strings.Count(lines, "\n"), "a line each")
	return values
}

// editModel copies the embedded model's folder with keys of its model_cfg changed.
func editModel(t *testing.T, edit func(cfg map[string]any)) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(folder, os.DirFS("../../clip/emoji-clip")))
	path := filepath.Join(folder, "open_clip_config.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var file map[string]any
	require.NoError(t, json.Unmarshal(data, &file))
	edit(file["model_cfg"].(map[string]any))
	data, err = json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o666))
	return folder
}

// Texts are in the language that is asked for, by a tokenizer that has languages.
func TestLanguages(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(folder, os.DirFS("../../tests/testdata/oracle/hf_tokenizers/nllb")))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "open_clip_config.json"), []byte(`{"model_cfg": {"embed_dim": 512, "vision_cfg": {},
		"text_cfg": {"hf_model_name": "facebook/nllb-200-distilled-600M", "hf_tokenizer_name": "facebook/nllb-200-distilled-600M"}}}`), 0o666))
	tokenize := []string{"tokenize", "le monde", "--model", folder}
	for want, flags := range map[string][]string{"eng_Latn": nil, "fra_Latn": {"--language", "fra_Latn"}} {
		o := program(t, append(tokenize, flags...)...)
		o.requireDone(t)
		assert.Contains(t, o.stdout, want)
	}
	program(t, append(tokenize, "--language", "french")...).requireFailure(t, exitFailure, `language "french" is not one of NLLB's`)
	program(t, append(tokenize, "--language", "")...).requireFailure(t, exitUsage, "want a code, such as fra_Latn")
	for _, args := range [][]string{{"tokenize", "a"}, {"embed", "--text", "a", "-o", "-", "--format", "csv"}, {"classify", "../../clip/emoji-clip/examples/pizza.png", "--labels", "a"}} {
		program(t, append(args, "--language", "fra_Latn")...).requireFailure(t, exitFailure, "the tokenizer has no languages")
	}
}

// tokenize warns of what the config has and open_clip ignores, as embed does.
func TestTokenizeWarns(t *testing.T) {
	folder := editModel(t, func(cfg map[string]any) {
		cfg["text_cfg"].(map[string]any)["tokenizer_kwargs"] = map[string]any{"reduction_mask": "simple"}
	})
	o := program(t, "tokenize", "--model", folder, "a")
	require.Equal(t, exitOK, o.code)
	assert.Contains(t, o.stderr, "warning: "+folder+": text_cfg.tokenizer_kwargs.reduction_mask is ignored")
}

func TestNoArgumentsGivesUsage(t *testing.T) {
	o := program(t)
	assert.Equal(t, exitUsage, o.code)
	assert.Empty(t, o.stdout)
	for _, want := range []string{"Usage:", "classify", "embed", "verify", "--model"} {
		assert.Contains(t, o.stderr, want)
	}
}

func TestHelpDocumentsExitCodes(t *testing.T) {
	o := program(t, "--help")
	o.requireDone(t)
	for _, want := range []string{"Exit codes", "\n  0 ", "\n  1 ", "\n  2 ", "\n  3 ", "\n  130 ", "never seen a photograph"} {
		assert.Contains(t, o.stdout, want)
	}
}

func TestUsageErrors(t *testing.T) {
	image := example("pizza")
	for name, c := range map[string]struct {
		args  []string
		names []string
	}{
		"unknown command":        {[]string{"clasify"}, []string{`"clasify"`, `"classify"`}},
		"help of no command":     {[]string{"help", "clasify"}, []string{`"clasify"`, `"classify"`}},
		"unknown shell":          {[]string{"completion", "tcsh"}, []string{`"tcsh"`}},
		"unknown flag":           {[]string{"classify", image, "--frobnicate"}, []string{"--frobnicate", "clip-wgpu classify --help"}},
		"unknown root flag":      {[]string{"--frobnicate"}, []string{"--frobnicate"}},
		"batch 0":                {[]string{"classify", image, "--labels", "a", "--batch", "0"}, []string{"--batch", `"0"`}},
		"batch -1":               {[]string{"embed", image, "-o", "x.npy", "--batch", "-1"}, []string{"--batch", `"-1"`}},
		"batch abc":              {[]string{"embed", image, "-o", "x.npy", "--batch", "abc"}, []string{"--batch", `"abc"`}},
		"json and csv":           {[]string{"embed", image, "--json", "--format", "csv", "-o", "-"}, []string{"--json", "csv"}},
		"batch too large":        {[]string{"classify", image, "--batch", "9223372036854775807"}, []string{"--batch", "65536"}},
		"no memory":              {[]string{"classify", image, "--max-gpu-mem", "0"}, []string{"--max-gpu-mem", `"0"`}},
		"memory of no unit":      {[]string{"bench", "--max-gpu-mem", "64X"}, []string{"--max-gpu-mem", `"64X"`}},
		"batch list":             {[]string{"bench", "--batch", "1,3"}, []string{"--batch", `"3"`}},
		"top 0":                  {[]string{"classify", image, "--labels", "a", "--top", "0"}, []string{"--top"}},
		"classify nothing":       {[]string{"classify", "--labels", "a"}, []string{"no images"}},
		"no labels":              {[]string{"classify", image}, []string{"--labels"}},
		"empty labels":           {[]string{"classify", image, "--labels", " , "}, []string{"--labels"}},
		"template without place": {[]string{"classify", image, "--labels", "a", "--template", "photo"}, []string{`"photo"`, "{}"}},
		"two things on stdin":    {[]string{"classify", "-", "--labels", "-"}, []string{"stdin"}},
		"empty stdin":            {[]string{"classify", "-", "--labels", "a"}, []string{"no images"}},
		"embed nothing":          {[]string{"embed", "-o", "x.npy"}, []string{"no images and no texts"}},
		"embed to nowhere":       {[]string{"embed", image}, []string{"-o"}},
		"odd format":             {[]string{"embed", image, "-o", "x.npy", "--format", "xls"}, []string{"--format", `"xls"`, "safetensors"}},
		"format against name":    {[]string{"embed", image, "-o", "x.npy", "--format", "csv"}, []string{"x.npy", "csv"}},
		"matrix without ids":     {[]string{"embed", image, "-o", "-", "--format", "npy", "--skip-errors"}, []string{"npy", "--skip-errors"}},
		"texts twice on stdin":   {[]string{"embed", "--text-file", "-", "--text-file", "-", "-o", "x.npy"}, []string{"stdin"}},
		"labels twice on stdin":  {[]string{"classify", image, "--labels", "-", "--labels", "-"}, []string{"stdin"}},
		"odd answers":            {[]string{"classify", image, "--labels", "a", "--format", "npy"}, []string{"--format", `"npy"`}},
		"two forms of answers":   {[]string{"classify", image, "--labels", "a", "--format", "csv", "--json"}, []string{"--json", "csv"}},
		"folder to exclude":      {[]string{"embed", image, "-o", "x.npy", "--exclude-dir", "a/b"}, []string{"--exclude-dir", "a/b"}},
		"pattern to exclude":     {[]string{"embed", image, "-o", "x.npy", "--exclude-dir", "["}, []string{"--exclude-dir", "["}},
		"empty device":           {[]string{"classify", image, "--labels", "a", "--device", ""}, []string{"--device"}},
		"filter of coverage":     {[]string{"models", "--coverage", "--runs"}, []string{"--coverage"}},
		"filter of one model":    {[]string{"models", "ViT-B-32", "--runs"}, []string{"--runs"}},
		"unknown format":         {[]string{"embed", image, "-o", "x.xls"}, []string{"x.xls", ".npy", "--format"}},
		"odd switch":             {[]string{"models", "--runs=maybe"}, []string{"--runs", `"maybe"`, "flag: want true or false (see"}},
		"odd switch for all":     {[]string{"models", "--json=2"}, []string{"--json", `"2"`, "flag: want true or false (see"}},
		"odd time":               {[]string{"bench", "--seconds", "long"}, []string{"--seconds", `"long"`, "flag: want a number (see"}},
		"tokenize nothing":       {[]string{"tokenize"}, []string{"no texts"}},
		"tower":                  {[]string{"program", "--tower", "audio"}, []string{`"audio"`, "image or text"}},
		"devices with argument":  {[]string{"devices", "x"}, []string{`"x"`}},
		"bench without time":     {[]string{"bench", "--seconds", "0"}, []string{"--seconds"}},
		"bench of odd weights":   {[]string{"bench", "--weights", "f32,f8"}, []string{"--weights", "f32,f8", "bf16"}},
		"weights":                {[]string{"classify", image, "--weights", "int4"}, []string{"--weights", `"int4"`, "q8"}},
		"tune of two models":     {[]string{"tune", "a", "b"}, []string{"one model"}},
		"profile of two models":  {[]string{"profile", "a", "b"}, []string{"one model"}},
		"profile of a tower":     {[]string{"profile", "--tower", "audio"}, []string{`"audio"`, "image or text"}},
	} {
		t.Run(name, func(t *testing.T) { program(t, c.args...).requireFailure(t, exitUsage, c.names...) })
	}
}

func TestUnknownModelAndDevice(t *testing.T) {
	image := example("pizza")
	program(t, "classify", image, "--labels", "a", "--model", "no-model").requireFailure(t, exitFailure, "no-model")
	program(t, "program", "ViT-B-33").requireFailure(t, exitFailure, "ViT-B-33", "ViT-B-32")
	program(t, "classify", image, "--labels", "a", "--device", "voodoo").requireFailure(t, exitFailure, "voodoo")
	program(t, "classify", image, "--labels", "a", "--device", "77").requireFailure(t, exitFailure, "no adapter 77, choose from 0: ")
}

func TestMessagesAreOfBoundedLength(t *testing.T) {
	o := program(t, "convert", strings.Repeat("x", 1<<20), "-o", "x")
	o.requireFailure(t, exitFailure, "xxx…")
	assert.Less(t, len(o.stderr), 1<<14)
}

func TestCancelledBeforeTheStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"classify", example("pizza"), "--labels", "a"}, nil, &stdout, &stderr)
	outcome{code, stdout.String(), stderr.String()}.requireFailure(t, exitInterrupted, "interrupted")
}

func TestDevices(t *testing.T) {
	o := program(t, "devices", "--json")
	o.requireDone(t)
	list := decodeLines[device](t, o.stdout)
	require.NotEmpty(t, list)
	assert.NotEmpty(t, list[0].Name)
	assert.Positive(t, list[0].MaxBindingBytes)
	o = program(t, "devices")
	o.requireDone(t)
	assert.Contains(t, o.stdout, list[0].Name)
	o = program(t, "classify", example("pizza"), "--labels", "a", "--device", list[0].Name)
	o.requireDone(t)
}

func TestVersion(t *testing.T) {
	o := program(t, "version")
	o.requireDone(t)
	assert.Regexp(t, `^clip-wgpu \S+ \(go1\.`, o.stdout)
	flag := program(t, "--version")
	flag.requireDone(t)
	assert.Equal(t, o.stdout, flag.stdout)
}

func TestTokenize(t *testing.T) {
	o := program(t, "tokenize", "red  Apple", "", "--json")
	o.requireDone(t)
	type row struct {
		Text   string
		IDs    []int32
		Tokens []string
	}
	rows := decodeLines[row](t, o.stdout)
	require.Len(t, rows, 2)
	assert.Equal(t, row{
		"red  Apple",
		[]int32{3012, 663, 2484, 3013, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		[]string{"<start_of_text>", "red ", "apple ", "<end_of_text>"},
	}, rows[0])
	assert.Equal(t, []string{"<start_of_text>", "<end_of_text>"}, rows[1].Tokens)
	o = program(t, "tokenize", strings.Repeat("apple ", 100))
	assert.Equal(t, exitOK, o.code)
	assert.Regexp(t, `^clip-wgpu: cut at the model's 16 tokens: 1 of 1 text, the first is "apple .+\n$`, o.stderr)
	assert.Equal(t, 14, strings.Count(o.stdout, `2484 "apple "`), "the context of 16 less start and end")
}

func TestProgramListing(t *testing.T) {
	o := program(t, "program", "emoji-clip", "--tower", "text", "--batch", "2")
	o.requireDone(t)
	assert.Contains(t, o.stdout, "2×16", "the tokens of two rows")
	assert.Contains(t, o.stdout, "text_projection")
	assert.NotContains(t, o.stdout, "visual.")
}

func TestProgramJSON(t *testing.T) {
	type row struct {
		Step              int
		Scope, Op, Kernel string
		Buffers           []string
		Groups            [2]int
	}
	listing := program(t, "program").stdout
	o := program(t, "program", "--json")
	o.requireDone(t)
	rows := decodeLines[row](t, o.stdout)
	assert.Equal(t, strings.Fields(listing)[:2], []string{strconv.Itoa(len(rows)), "steps,"})
	for i, r := range rows {
		assert.Equal(t, i, r.Step)
		assert.Contains(t, listing, r.Scope+"."+r.Op)
		assert.Contains(t, listing, r.Kernel)
		assert.Contains(t, listing, strings.Join(r.Buffers, " "))
		assert.Contains(t, listing, fmt.Sprintf("%d×%d", r.Groups[0], r.Groups[1]))
	}
}

// tune lists the kernels of each class, the fastest first.
func TestTuneDryRun(t *testing.T) {
	o := program(t, "tune", "--batch", "1", "--dry-run", "--json")
	o.requireDone(t)
	type row struct {
		Class, Kernel string
		Ms            float64
	}
	rows := decodeLines[row](t, o.stdout)
	require.NotEmpty(t, rows)
	for i, r := range rows {
		assert.Positive(t, r.Ms)
		if i > 0 && rows[i-1].Class == r.Class {
			assert.LessOrEqual(t, rows[i-1].Ms, r.Ms)
		}
	}
}

func TestTimeLeft(t *testing.T) {
	assert.Equal(t, "", timeLeft(0))
	assert.Equal(t, ", 1m5s left", timeLeft(65*time.Second+40*time.Millisecond))
}

func TestTuningJSON(t *testing.T) {
	times := &gpu.Tuning{Seconds: map[string]map[string]float64{"b": {"slow": 2e-3, "quick": 1e-3}, "a": {"only": 3e-3}}}
	var out bytes.Buffer
	require.NoError(t, writeTuning(&out, times, true))
	assert.Equal(t, `{"class":"a","kernel":"only","ms":3}
{"class":"b","kernel":"quick","ms":1}
{"class":"b","kernel":"slow","ms":2}
`, out.String())
}
