"""What this machine is: CPU or CUDA, its memory and disk, who scheduled the job, and the supervisor as a process."""
