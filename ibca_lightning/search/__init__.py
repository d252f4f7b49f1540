"""Many runs of one experiment: `ibca sweep` compares heads over seeds, `ibca tune` searches options by validation.

`sweep` and `tune` make a list of jobs (`job`) out of a recipe; `jobs` runs them, some at a time, and skips what is
done; `gpus` shares out the GPUs; `space` and `study` say what each trial tries. To search by another method, add its
sampler to `Search.ask` in `study.py` and to the choices of `--sampler` in `tune.py`.
"""
