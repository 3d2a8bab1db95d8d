package weights

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const indexSuffix = ".index.json"

// usualNames are the usual names of a file of weights, in the order in which
// open_clip prefers them (_find_checkpoint_in_dir of factory.py).
var usualNames = []string{
	"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth",
	"model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
}

// shardName matches the name that Hugging Face's libraries give each of several files
// of one model: model-00002-of-00005.safetensors.
var shardName = regexp.MustCompile(`^(.+)-\d{5}-of-(\d{5})(\.\w+)$`)

// shardOf is the index of a shard by its name, or empty.
func shardOf(name string) string {
	m := shardName.FindStringSubmatch(name)
	if m == nil || m[2] == "00001" {
		return ""
	}
	return m[1] + m[3] + indexSuffix
}

// endings tell files of weights by any other name.
var endings = []string{".safetensors", ".bin", ".pt", ".pth", ".npz"}

// UsualNames lists the names that Choose prefers, best first. The name of a file
// is followed by that of its index, which a sharded checkpoint has instead; a .pth
// has none.
func UsualNames() (names []string) {
	for _, name := range usualNames {
		names = append(names, name)
		if path.Ext(name) != ".pth" {
			names = append(names, name+indexSuffix)
		}
	}
	return names
}

// Choose picks the model's weights among the names of a folder's files: a file, or
// the index of a sharded checkpoint. It takes the first of UsualNames that is
// there, or else the only index, or else the only file that ends in .safetensors,
// .bin, .pt, .pth or .npz. It ignores hidden files and, because the names may be a
// server's, those with a slash or a backslash, which lie in other folders.
//
// Errors match fs.ErrNotExist where there are no weights or shards lack their
// index, and ErrNotWeights where several files could be them.
func Choose(files []string) (string, error) {
	usual := UsualNames()
	if i := slices.IndexFunc(usual, func(name string) bool { return slices.Contains(files, name) }); i >= 0 {
		return usual[i], nil
	}
	var found, indexes []string
	for _, name := range files {
		file, isIndex := strings.CutSuffix(name, indexSuffix)
		switch {
		case strings.HasPrefix(name, "."), strings.ContainsAny(name, `/\`), !slices.Contains(endings, path.Ext(file)):
		case isIndex:
			indexes = append(indexes, name)
		default:
			found = append(found, name)
		}
	}
	if len(indexes) > 0 {
		found = indexes
	}
	slices.Sort(found)
	if isWhole := func(name string) bool { return shardOf(name) == "" }; len(found) > 0 && !slices.ContainsFunc(found, isWhole) {
		return "", fail(fs.ErrNotExist, "", "has shards of weights, %s, and not the index that ties them together, %s", listNames(found), plain(shardOf(found[0])))
	}
	switch len(found) {
	case 0:
		return "", fail(fs.ErrNotExist, "", "has no weights: looked for %s, and then for the only .safetensors, .bin, .pt, .pth or .npz", strings.Join(usualNames, ", "))
	case 1:
		return found[0], nil
	}
	slices.Sort(found)
	return "", fail(ErrNotWeights, "", "has several files of weights, %s: give one of them", listNames(found))
}

// listNames joins at most ten names and counts the rest.
func listNames(names []string) string {
	var listed []string
	for _, name := range names[:min(len(names), 10)] {
		listed = append(listed, plain(name))
	}
	if n := len(names) - len(listed); n > 0 {
		listed = append(listed, fmt.Sprintf("%d more", n))
	}
	return strings.Join(listed, ", ")
}

// resolve returns the file that stands for a folder, and other paths as they are.
func resolve(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", osError(path, err)
	}
	if !info.IsDir() {
		return path, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", osError(path, err)
	}
	var files []string
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(path, e.Name())); err != nil || !info.IsDir() {
			files = append(files, e.Name())
		}
	}
	name, err := Choose(files)
	if err != nil {
		return "", at(path, err)
	}
	return filepath.Join(path, name), nil
}
