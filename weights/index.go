package weights

import (
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// openIndex opens the shards of an index,
//
//	{"metadata": {…}, "weight_map": {"tensor": "model-00001-of-00002.safetensors", …}}
//
// The File has the tensors that weight_map names, each from the shard it
// names; other tensors in the shards are left out.
func openIndex(r *regular) (*File, error) {
	shardOf, err := readIndex(r)
	if err != nil {
		return nil, at(r.Name(), err)
	}
	f := &File{path: r.Name()}
	shards := map[string]*File{}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		shard, ok := shards[shardOf[name]]
		if !ok {
			if shard, err = openShard(r.Name(), name, shardOf[name]); err != nil {
				f.Close()
				return nil, err
			}
			shards[shardOf[name]] = shard
			f.mappings = append(f.mappings, shard.mappings...)
		}
		t, ok := shard.Tensor(name)
		if !ok {
			f.Close()
			return nil, at(r.Name(), fail(ErrMalformed, name, "the index places it in %s, which has no such tensor", quote(shardOf[name])))
		}
		f.tensors = append(f.tensors, t)
	}
	return f, nil
}

// Shards lists the files that an index names, ascending and relative to its
// folder. Errors are those of Open.
func Shards(index string) (files []string, err error) {
	r, err := openRegular(index)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	err = guarded(index, func() error {
		shardOf, err := readIndex(r)
		files = slices.Compact(slices.Sorted(maps.Values(shardOf)))
		if err == nil && len(files) == 0 {
			err = fail(ErrNotWeights, "", "is an index of no weights")
		}
		return at(index, err)
	})
	return files, err
}

// openShard opens the safetensors file that an index names for a tensor.
func openShard(index, tensor, shard string) (*File, error) {
	local, err := filepath.Localize(shard)
	if err != nil {
		return nil, at(index, fail(ErrMalformed, tensor, "shard %s is not a path below the index's folder", quote(shard)))
	}
	r, err := openRegular(filepath.Join(filepath.Dir(index), local))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return openSingle(r)
}

// readIndex returns the weight_map of an index.
func readIndex(r *regular) (map[string]string, error) {
	if r.size > maxHeader {
		return nil, fail(ErrMalformed, "", "index of %d bytes, at most %d expected", r.size, maxHeader)
	}
	text := make([]byte, r.size)
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, int64(r.size)), text); err != nil {
		return nil, osError(r.Name(), err)
	}
	var shardOf map[string]string
	err := jsonObject("index", text, func(p *strictjson.Parser, key string) (err error) {
		if key != "weight_map" {
			return p.Skip()
		}
		shardOf, err = stringMap(p)
		return prefixed(key, err)
	})
	if err != nil {
		return nil, err
	}
	if shardOf == nil {
		return nil, fail(ErrNotWeights, "", "is JSON without a weight_map, not weights")
	}
	return shardOf, nil
}
