"""The paper's table beside ours: each row an experiment of conf/experiment, run through the real pipeline."""
