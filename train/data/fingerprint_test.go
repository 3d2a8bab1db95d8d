package data

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Data keeps its fingerprint wherever it lies, and no other data has it.
func TestFingerprint(t *testing.T) {
	prints := func(sources ...string) (names, places []string) {
		for _, dog := range []string{"a dog", "a dog", "a cat"} {
			folder := write(t, map[string]string{
				"table.csv": "filepath,title\na.png,one\n../b.png," + dog + "\n", "c/" + dog + "/x.png": "", "c/zebra/y.png": "",
				"0.tar": string(archive(t, "a.jpg", "", "a.txt", dog, "b"+dog+".jpg", "", "b"+dog+".txt", "")),
			})
			all := make([]string, len(sources))
			for i, source := range sources {
				all[i] = filepath.Join(folder, source)
			}
			d, err := Open(all, Options{})
			require.NoError(t, err)
			names, places = append(names, d.Fingerprint()), append(places, d.FingerprintOfPlaces())
		}
		return names, places
	}
	seen := map[string]bool{}
	for _, sources := range [][]string{{"table.csv"}, {"c"}, {"0.tar"}, {"table.csv", "0.tar"}, {"0.tar", "table.csv"}} {
		names, places := prints(sources...)
		assert.Equal(t, names[0], names[1], "%v", sources)
		assert.NotEqual(t, places[0], places[1], "%v", sources)
		for _, name := range names[1:] {
			assert.False(t, seen[name], "%v", sources)
			seen[name] = true
		}
	}
}
