#!/bin/bash
# A mirror as a Slurm job. It ends by itself before its time limit and goes back into the queue until all is here.
#
#     cp slurm.sh ~/xnat-sync.sbatch    # change what is yours
#     sbatch ~/xnat-sync.sbatch
#
# Log in once before, on a login node: xnat-sync login --token. The token lies in your home, which the nodes share.
#
#SBATCH --job-name=xnat-sync
# A partition whose nodes reach the internet; clusters have one for data transfer. Ask your site for its name.
#SBATCH --partition=transfer
#SBATCH --time=08:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
# Without --requeue 'scontrol requeue' is refused at many sites; the log of the earlier rounds is kept.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=xnat-sync-%j.log
#SBATCH --mail-type=FAIL
# A net, should the time limit be shortened: this script gets SIGTERM two minutes before the end.
#SBATCH --signal=B:TERM@120

projects=(PTV000 PTV001)
dest=/scratch/mirror
export XNAT_HOST=https://xnat.example.org
PATH=$HOME/xnat-sync/bin:$PATH
rounds=30

# Five minutes of margin: parking takes seconds, --on-end and a slow file system may take more.
now=$(date +%s)
ends=${SLURM_JOB_END_TIME:-$((now + 8 * 3600))}
seconds=$((ends - now - 300))
if ((seconds < 300)); then
    echo "xnat-sync: the time limit leaves no time to work" >&2
    exit 2
fi

# --wait-lock: after a node has died, its lock is believed for a while. No srun: the one process is here.
xnat-sync project "${projects[@]}" --dest "$dest" --max-duration "${seconds}s" --wait-lock 15m &
run=$!

# SIGTERM (the time limit, scancel, preemption) comes to this script, as a rule to it alone: it is passed on, and it
# ends 'wait' too early. xnat-sync then parks what is in hand, within 10 s.
signalled=yes
trap 'signalled=yes; kill -TERM "$run" 2>/dev/null' TERM
while [ "$signalled" ]; do
    signalled=
    wait "$run"
    code=$?
done

# 10: the window closed and there is more to do. Every other end is for people (0 is success).
if ((code == 10)); then
    if ((${SLURM_RESTART_COUNT:-0} >= rounds)); then
        echo "xnat-sync: not complete after $rounds rounds: look at the log" >&2
    elif scontrol requeue "$SLURM_JOB_ID"; then
        exit 0
    fi
fi
exit "$code"
