"""Pictures in shards, for sets of millions and object stores: `ibca pack` writes, `PackedPictures` reads them."""
