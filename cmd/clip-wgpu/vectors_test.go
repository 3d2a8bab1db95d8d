package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a model lacks of a pair of towers with vectors is told before anything is encoded
// or written: the picture cannot be read, which would be told first.
func TestModelsThatLackATower(t *testing.T) {
	without := func(tower string) string {
		return editModel(t, func(cfg map[string]any) { delete(cfg, tower) })
	}
	unpooled := func(tower string) string {
		return editModel(t, func(cfg map[string]any) { cfg[tower].(map[string]any)["pool_type"] = "none" })
	}
	unread := editModel(t, func(cfg map[string]any) { cfg["text_cfg"].(map[string]any)["hf_tokenizer_name"] = "nobody/unknown" })
	noFiles := editModel(t, func(map[string]any) {})
	for _, folder := range []string{unread, noFiles} {
		require.NoError(t, os.Remove(filepath.Join(folder, "vocab.json")))
		require.NoError(t, os.Remove(filepath.Join(folder, "merges.txt")))
	}
	timm := t.TempDir()
	require.NoError(t, os.CopyFS(timm, os.DirFS("../../clip/emoji-clip")))
	require.NoError(t, os.Rename(filepath.Join(timm, "open_clip_config.json"), filepath.Join(timm, "config.json")))
	require.NoError(t, os.WriteFile(filepath.Join(timm, "config.json"), []byte(`{"architecture": "vit_base_patch16_224", "num_classes": 0}`), 0o666))

	folder, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	classes, csv := filepath.Join(folder, "classes"), filepath.Join(folder, "captions.csv")
	picture := filepath.Join(classes, "rose", "1.png")
	for _, class := range []string{"rose", "pizza"} {
		require.NoError(t, os.MkdirAll(filepath.Join(classes, class), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(classes, class, "1.png"), []byte("no picture"), 0o666))
	}
	require.NoError(t, os.WriteFile(csv, []byte("filepath,title\n"+picture+",a rose\n"), 0o666))
	texts := [][]string{{"eval", classes}, {"eval", csv}, {"classify", picture, "--labels", "a,b"}, {"embed", picture, "--text", "a", "-o", out + ".npy"},
		{"train", csv, "--batch-size", "1", "-o", out}, {"train", csv, "--batch-size", "1", "--dry-run"}}
	pictures := [][]string{{"embed", picture, "-o", out + ".npy"}, {"index", classes, "--index", out}}
	for _, c := range []struct {
		model, want string
		commands    [][]string
	}{
		{without("text_cfg"), `key "text_cfg" is missing`, slices.Concat(texts, pictures)},
		{without("vision_cfg"), `key "vision_cfg" is missing`, slices.Concat(texts, pictures)},
		{timm, "architecture (timm's, of an image tower alone) is not supported", slices.Concat(texts, pictures)},
		{unpooled("text_cfg"), "its text tower does not pool (features of shape [16 128])", texts},
		{unpooled("vision_cfg"), "its image tower does not pool (features of shape [17 128])", slices.Concat(texts, pictures)},
		{unread, `cannot read texts: the model's tokenizer "nobody/unknown" is not supported without its files`, texts},
		{noFiles, "has 49408 tokens, but the model's vocab_size is 3014", texts},
	} {
		for _, args := range c.commands {
			program(t, append(args, "--model", c.model)...).requireFailure(t, exitFailure, c.model, c.want)
		}
	}
	requireFiles(t, filepath.Dir(out))
	program(t, "embed", example("rose"), "-o", out+".npy", "--model", unread).requireDone(t) // which takes no texts
}
