// The commands of `pleat`. Each is a function that reads its own command line, whose first element is the command's
// name, does its work and returns the exit code. Errors are thrown as exceptions.
#pragma once

namespace pleat {

int train_command(int argc, char** argv);
int prefold_command(int argc, char** argv);
int finetune_command(int argc, char** argv);
int distill_command(int argc, char** argv);
int fold_command(int argc, char** argv);
int calibrate_command(int argc, char** argv);
int shrink_command(int argc, char** argv);
int curve_command(int argc, char** argv);
int report_command(int argc, char** argv);
int plan_command(int argc, char** argv);
int eval_command(int argc, char** argv);
int verify_command(int argc, char** argv);
int inspect_command(int argc, char** argv);
int bench_command(int argc, char** argv);
int predict_command(int argc, char** argv);
int import_command(int argc, char** argv);
int export_command(int argc, char** argv);
int data_command(int argc, char** argv);
int list_command(int argc, char** argv);
int doctor_command(int argc, char** argv);

}  // namespace pleat
