package weights

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBindReportsWhatItDoesNotKnow(t *testing.T) {
	long := strings.Repeat("x", 1000)
	f, err := Parse("m", withHeader(`{"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},`+
		`"mask":{"dtype":"BOOL","shape":[1],"data_offsets":[8,9]},`+
		`"scale":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[9,10]},`+
		`"`+long+`":{"dtype":"BF16","shape":[1],"data_offsets":[10,12]}}`, 12))
	require.NoError(t, err)
	r := Bind(&struct{}{}, f)
	assert.ElementsMatch(t, []string{"scale", long}, r.Unexpected)
	assert.Less(t, len(r.Err().Error()), 300)
}
